'use strict'
// A network of hyperdht nodes on this machine, or one more in a network that is there
// already, for good or as a guest. Does what it is told over a TCP connection, a line of JSON
// each, and says there what came of it:
//   node dht-peer.js testnet COUNT | node dht-peer.js join PORT | node dht-peer.js visit PORT
const DHT = require('hyperdht')
const { host, obey, hex, bytes } = require('../lib/control')
const { testnet, echo, say } = require('../lib/testnet')

async function all (query, read) {
  const found = []
  for await (const reply of query) found.push(...read(reply))
  return found
}

function commands (dht, nodes) {
  const pair = (seed) => DHT.keyPair(bytes(seed))
  let server = null
  const lookup = async (topic) => [...new Set(await all(dht.lookup(bytes(topic)), peers))].sort()
  const immutableGet = async (hash) => (await dht.immutableGet(bytes(hash)))?.value.toString() ?? null
  const mutableGet = async (key) => {
    const found = await dht.mutableGet(bytes(key), { latest: true })
    return found && { seq: found.seq, value: found.value.toString() }
  }
  const peers = (reply) => reply.peers.map((peer) => hex(peer.publicKey))
  return {
    announce: async ({ topic, seed }) => {
      const query = dht.announce(bytes(topic), pair(seed), [{ host, port: 4242 }])
      await query.finished()
      return query.closestReplies.length
    },
    unannounce: async ({ topic, seed }) => { await dht.unannounce(bytes(topic), pair(seed)) },
    lookup: ({ topic }) => lookup(topic),
    findPeer: async ({ key }) => all(dht.findPeer(bytes(key)), (reply) => [hex(reply.peer.publicKey)]),
    listen: async ({ seed }) => {
      server = dht.createServer(echo)
      await server.listen(pair(seed))
    },
    unlisten: async () => { await server.close() },
    // Says something to who has that key; gives what comes back.
    dial: async ({ key, seed, text }) => {
      const stream = dht.connect(bytes(key), { keyPair: pair(seed) })
      const heard = await say(stream, text)
      stream.destroy()
      return heard
    },
    immutablePut: async ({ value }) => hex((await dht.immutablePut(Buffer.from(value))).hash),
    immutableGet: ({ hash }) => immutableGet(hash),
    mutablePut: async ({ seed, value, seq }) => {
      await dht.mutablePut(pair(seed), Buffer.from(value), { seq })
    },
    mutableGet: ({ key }) => mutableGet(key),
    // All of that at a time.
    find: async ({ topic, hashes, keys }) => {
      const [announced, fixed, latest] = await Promise.all([
        lookup(topic), Promise.all(hashes.map(immutableGet)), Promise.all(keys.map(mutableGet))
      ])
      return { announced, fixed, latest }
    },
    // The last of the network's nodes are gone, without a word.
    kill: async ({ count }) => {
      await Promise.all(nodes.splice(-count).map((node) => node.destroy({ force: true })))
      return nodes.length
    },
    knows: async ({ port }) => dht.toArray().some((node) => node.port === port)
  }
}

async function main () {
  const [mode, argument] = process.argv.slice(2)
  const { nodes, bootstrap } = mode === 'testnet'
    ? await testnet(Number(argument))
    : { nodes: [], bootstrap: [{ host, port: Number(argument) }] }
  const how = mode === 'visit'
    ? { ephemeral: true, quickFirewall: false }
    : { ephemeral: mode === 'testnet', firewalled: false }
  const dht = new DHT({ bootstrap, host, port: 0, ...how })
  await dht.fullyBootstrapped()
  await obey(commands(dht, nodes), { bootstrap: bootstrap[0].port, nodes: nodes.length })
}

main()
