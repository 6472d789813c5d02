'use strict'
// Many npm hyperswarms in one process, in the network of a bootstrap node on this machine;
// each echoes what it is sent on a protomux channel. Does what it is told over a TCP
// connection, a line of JSON each, and says there what came of it:
//   node swarm-peer.js BOOTSTRAP_PORT
const Hyperswarm = require('hyperswarm4')
const DHT = require('hyperdht')
const { host, obey, hex, bytes } = require('../lib/control')
const { echo } = require('../lib/testnet')

const bootstrap = [{ host, port: Number(process.argv[2]) }]

const swarms = new Map()

const commands = {
  create: async ({ name, seed }) => {
    const swarm = new Hyperswarm({ seed: bytes(seed), dht: new DHT({ bootstrap, host, port: 0 }) })
    swarm.on('connection', echo)
    swarms.set(name, swarm)
    return hex(swarm.keyPair.publicKey)
  },
  // Answers when it is announced, and has looked around once.
  join: async ({ name, topic, server, client }) => {
    await swarms.get(name).join(bytes(topic), { server, client }).flushed()
  },
  // Answers at once.
  begin: ({ name, topic, server, client }) => { swarms.get(name).join(bytes(topic), { server, client }) },
  leave: async ({ name, topic }) => { await swarms.get(name).leave(bytes(topic)) },
  joinPeer: ({ name, key }) => { swarms.get(name).joinPeer(bytes(key)) },
  destroy: async ({ name }) => {
    await swarms.get(name).destroy()
    swarms.delete(name)
  },
  connections: ({ name }) => [...swarms.get(name).connections].map((it) => hex(it.remotePublicKey)).sort(),
  lookup: async ({ name, topic }) => {
    const found = new Set()
    for await (const reply of swarms.get(name).dht.lookup(bytes(topic))) {
      for (const peer of reply.peers) found.add(hex(peer.publicKey))
    }
    return [...found].sort()
  },
  // Answers when it has just so many connections.
  until: ({ name, connections }) => new Promise((resolve) => {
    const swarm = swarms.get(name)
    const check = () => {
      if (swarm.connections.size !== connections) return
      swarm.off('update', check)
      resolve(connections)
    }
    swarm.on('update', check)
    check()
  })
}

obey(commands, { bootstrap: bootstrap[0].port })
