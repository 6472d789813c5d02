'use strict'
// Many npm hyperswarms in one process, in the network of a bootstrap node on this machine;
// each echoes what it is sent on a protomux channel. Does what it is told over a TCP
// connection, a line of JSON each, and says there what came of it:
//   node swarm-peer.js BOOTSTRAP_PORT
const Hyperswarm = require('hyperswarm4')
const DHT = require('hyperdht')
const Protomux = require('protomux')
const c = require(require.resolve('compact-encoding', { paths: [require.resolve('protomux')] }))
const net = require('net')
const readline = require('readline')
const { once } = require('events')

const hex = (buffer) => Buffer.from(buffer).toString('hex')
const bytes = (text) => Buffer.from(text, 'hex')
const host = '127.0.0.1'
const bootstrap = [{ host, port: Number(process.argv[2]) }]

const swarms = new Map()

function echo (connection) {
  // Whoever ends it, ends it as it likes.
  connection.on('error', () => {})
  const mux = Protomux.from(connection)
  mux.pair({ protocol: 'echo' }, () => {
    const channel = mux.createChannel({ protocol: 'echo' })
    const message = channel.addMessage({ encoding: c.raw, onmessage: (sent) => message.send(sent) })
    channel.open()
  })
}

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

async function main () {
  const server = net.createServer((socket) => {
    const say = (answer) => socket.write(JSON.stringify(answer) + '\n')
    readline.createInterface({ input: socket }).on('line', async (line) => {
      const { do: name, ...argument } = JSON.parse(line)
      try {
        say({ result: (await commands[name](argument)) ?? null })
      } catch (error) {
        say({ error: error.message })
      }
    })
  })
  server.listen(0, host)
  await once(server, 'listening')
  console.log(JSON.stringify({ control: server.address().port, bootstrap: bootstrap[0].port }))
}

main()
