'use strict'
// A network of hyperdht nodes on this machine, or one more in a network that is there
// already. Does what it is told over a TCP connection, a line of JSON each, and says there
// what came of it:
//   node dht-peer.js testnet COUNT | node dht-peer.js join PORT
const DHT = require('hyperdht')
const { host, obey, hex, bytes } = require('../lib/control')
const { testnet } = require('../lib/testnet')

async function all (query, read) {
  const found = []
  for await (const reply of query) found.push(...read(reply))
  return found
}

function commands (dht) {
  const pair = (seed) => DHT.keyPair(bytes(seed))
  let server = null
  const peers = (reply) => reply.peers.map((peer) => hex(peer.publicKey))
  return {
    announce: async ({ topic, seed }) => {
      const query = dht.announce(bytes(topic), pair(seed), [{ host, port: 4242 }])
      await query.finished()
      return query.closestReplies.length
    },
    unannounce: async ({ topic, seed }) => { await dht.unannounce(bytes(topic), pair(seed)) },
    lookup: async ({ topic }) => [...new Set(await all(dht.lookup(bytes(topic)), peers))].sort(),
    findPeer: async ({ key }) => all(dht.findPeer(bytes(key)), (reply) => [hex(reply.peer.publicKey)]),
    listen: async ({ seed }) => {
      server = dht.createServer()
      await server.listen(pair(seed))
    },
    unlisten: async () => { await server.close() },
    immutablePut: async ({ value }) => hex((await dht.immutablePut(Buffer.from(value))).hash),
    immutableGet: async ({ hash }) => (await dht.immutableGet(bytes(hash)))?.value.toString() ?? null,
    mutablePut: async ({ seed, value, seq }) => {
      await dht.mutablePut(pair(seed), Buffer.from(value), { seq })
    },
    mutableGet: async ({ key }) => {
      const found = await dht.mutableGet(bytes(key), { latest: true })
      return found && { seq: found.seq, value: found.value.toString() }
    },
    knows: async ({ port }) => dht.toArray().some((node) => node.port === port)
  }
}

async function main () {
  const [mode, argument] = process.argv.slice(2)
  const { nodes, bootstrap } = mode === 'testnet'
    ? await testnet(Number(argument))
    : { nodes: [], bootstrap: [{ host, port: Number(argument) }] }
  const dht = new DHT({ bootstrap, host, port: 0, ephemeral: mode === 'testnet', firewalled: false })
  await dht.fullyBootstrapped()
  await obey(commands(dht), { bootstrap: bootstrap[0].port, nodes: nodes.length })
}

main()
