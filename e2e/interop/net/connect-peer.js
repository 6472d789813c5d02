'use strict'
// hyperdht nodes on this machine that dial and are dialled. Does what it is told over a TCP
// connection, a line of JSON each, and says there what came of it:
//   node connect-peer.js testnet COUNT | node connect-peer.js join PORT
const DHT = require('hyperdht')
const Protomux = require('protomux')
const blindRelay = require(require.resolve('blind-relay', { paths: [require.resolve('hyperdht')] }))
const c = require(require.resolve('compact-encoding', { paths: [require.resolve('protomux')] }))
const { createHash, randomBytes } = require('crypto')
const { once } = require('events')
const { host, obey, hex, bytes } = require('../lib/control')
const { testnet, echo } = require('../lib/testnet')

const CHUNK = 1 << 16

// Sends so much, and waits for it to come back.
function check (stream, size) {
  return new Promise((resolve, reject) => {
    const sent = createHash('sha256')
    const received = createHash('sha256')
    let left = size
    let wanted = size
    stream.on('error', reject)
    stream.on('close', () => reject(new Error('closed early')))
    const mux = Protomux.from(stream)
    const channel = mux.createChannel({ protocol: 'echo', onopen: more })
    const message = channel.addMessage({
      encoding: c.raw,
      onmessage (bytes) {
        received.update(bytes)
        wanted -= bytes.length
        if (wanted > 0) return more()
        const same = sent.digest('hex') === received.digest('hex')
        resolve({ same, host: stream.rawStream.remoteHost, port: stream.rawStream.remotePort })
      }
    })
    channel.open()
    // No more than a few at a time.
    function more () {
      while (left > 0 && wanted - left < 8 * CHUNK) {
        const chunk = randomBytes(Math.min(CHUNK, left))
        sent.update(chunk)
        left -= chunk.length
        message.send(chunk)
      }
    }
  })
}

function commands (bootstrap) {
  const nodes = []
  const servers = []
  const pair = (seed) => DHT.keyPair(bytes(seed))
  const through = ({ relayThrough, ...options }) =>
    relayThrough ? { relayThrough: bytes(relayThrough), ...options } : options
  return {
    // One more node that takes it that it cannot be reached, or one that stays.
    node: async ({ stays }) => {
      const options = stays ? { ephemeral: false, firewalled: false } : { quickFirewall: false }
      const node = new DHT({ bootstrap, host, port: 0, ...options })
      await node.fullyBootstrapped()
      nodes.push(node)
      return nodes.length - 1
    },
    serve: async ({ node, seed, ...options }) => {
      const server = nodes[node].createServer(through(options), echo)
      await server.listen(pair(seed))
      servers.push(server)
      return hex(pair(seed).publicKey)
    },
    // Passes on between others.
    relay: async ({ node, seed }) => {
      const relay = new blindRelay.Server({
        createStream: (options) => nodes[node].createRawStream({ ...options, framed: true })
      })
      const server = nodes[node].createServer({}, (stream) => {
        stream.on('error', () => {})
        relay.accept(stream, { id: stream.remotePublicKey }).on('error', () => {})
      })
      await server.listen(pair(seed))
      servers.push(server)
    },
    close: async () => {
      await Promise.all(servers.splice(0).map((server) => server.close()))
    },
    dial: async ({ node, seed, key, size, times, ...options }) => {
      const all = []
      for (let i = 0; i < (times || 1); i++) {
        const keyPair = times ? DHT.keyPair(randomBytes(32)) : pair(seed)
        const stream = nodes[node].connect(bytes(key), { keyPair, ...through(options) })
        all.push(check(stream, size).finally(() => stream.destroy()))
      }
      return Promise.all(all)
    },
    // Dials in vain, and says why.
    fails: async ({ node, seed, key, ...options }) => {
      const stream = nodes[node].connect(bytes(key), { keyPair: pair(seed), ...options })
      const [error] = await once(stream, 'error').catch((error) => [error])
      return error.code
    },
    punches: async ({ node }) => nodes[node].stats.punches
  }
}

async function main () {
  const [mode, argument] = process.argv.slice(2)
  const bootstrap = mode === 'testnet'
    ? (await testnet(Number(argument))).bootstrap
    : [{ host, port: Number(argument) }]
  await obey(commands(bootstrap), { bootstrap: bootstrap[0].port })
}

main()
