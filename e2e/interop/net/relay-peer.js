'use strict'
// npm blind-relay, as a relay and as an end, in the network of a bootstrap node on this
// machine. Does what it is told over a TCP connection, a line of JSON each, and says there
// what came of it:
//   node relay-peer.js BOOTSTRAP_PORT
const DHT = require('hyperdht')
const BlindRelay = require('blind-relay')
const { once } = require('events')
const { host, obey, hex, bytes } = require('../lib/control')

const bootstrap = [{ host, port: Number(process.argv[2]) }]

function commands (dht) {
  const relay = new BlindRelay.Server({ createStream: (options) => dht.createRawStream(options) })
  return {
    // Relays under the key of that seed.
    serve: async ({ seed }) => {
      const pair = DHT.keyPair(bytes(seed))
      const server = dht.createServer((connection) => {
        connection.on('error', () => {})
        relay.accept(connection, { id: connection.remotePublicKey }).on('error', () => {})
      })
      await server.listen(pair)
      return hex(pair.publicKey)
    },
    stats: () => ({ links: relay.stats.pairings.active, waiting: relay.stats.pairings.pending }),
    // Meets another end at a relay, says something to it, and answers what it says.
    meet: async ({ key, initiator, token, say }) => {
      const connection = dht.connect(bytes(key))
      await once(connection, 'open')
      const client = BlindRelay.Client.from(connection, { id: connection.publicKey })
      const stream = dht.createRawStream()
      const request = client.pair(initiator, bytes(token), stream)
      const [id] = await once(request, 'data')
      const { socket, remotePort, remoteHost } = connection.rawStream
      stream.connect(socket, id, remotePort, remoteHost)
      stream.write(Buffer.from(say))
      connection.on('error', () => {})
      stream.on('error', () => {})
      let heard = ''
      await new Promise((resolve) => {
        stream.on('data', (data) => {
          heard += data
          if (heard.endsWith('.')) resolve()
        })
      })
      // Both stay open: what we said may still have to be sent again.
      return heard
    }
  }
}

async function main () {
  const dht = new DHT({ bootstrap, host, port: 0 })
  await dht.fullyBootstrapped()
  await obey(commands(dht), { bootstrap: bootstrap[0].port })
}

main()
