'use strict'
// A machine of npm's: hyperswarm 4 and corestore 7, in the network of a bootstrap node.
//
//   node net/machine-peer.js meet BOOTSTRAP TOPIC announce|look
//     joins a topic; says "announced" or "looking", then "connected to HOST" for each peer
//   node net/machine-peer.js read BOOTSTRAP TOPIC FOLDER KEY
//     reads all of a core of peers of that topic; prints {"length", "bytes"}

const Hyperswarm = require('hyperswarm4')
const DHT = require('hyperdht')
const Corestore = require('corestore7')

const [what, bootstrap, topic, ...rest] = process.argv.slice(2)
const [host, port] = bootstrap.split(':')
const swarm = new Hyperswarm({ dht: new DHT({ bootstrap: [{ host, port: Number(port) }] }) })

async function meet (how) {
  swarm.on('connection', (connection) => {
    connection.on('error', () => {})
    console.log('connected to ' + connection.rawStream.remoteHost)
  })
  const server = how === 'announce'
  await swarm.join(Buffer.from(topic, 'hex'), { server, client: !server }).flushed()
  console.log(server ? 'announced' : 'looking')
}

async function read (folder, key) {
  const store = new Corestore(folder)
  swarm.on('connection', (connection) => {
    connection.on('error', () => {})
    store.replicate(connection)
  })
  const core = store.get({ key: Buffer.from(key, 'hex') })
  await core.ready()
  swarm.join(Buffer.from(topic, 'hex'), { server: false, client: true })
  // The first block comes as soon as there is a peer, and with it the length.
  await core.get(0)
  await core.update({ wait: true })
  let bytes = 0
  for (let index = 0; index < core.length; index++) bytes += (await core.get(index)).length
  console.log(JSON.stringify({ length: core.length, bytes }))
  await swarm.destroy()
  await store.close()
}

(what === 'meet' ? meet(...rest) : read(...rest)).catch((error) => {
  console.error(error.stack)
  process.exit(1)
})
