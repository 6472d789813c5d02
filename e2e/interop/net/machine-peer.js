'use strict'
// A machine of npm's: hyperswarm 4 and corestore 7, in the network of a bootstrap node.
//
//   node net/machine-peer.js meet BOOTSTRAP TOPIC announce|look
//     joins a topic; says "announced" or "looking", then "connected to HOST" for each peer
//   node net/machine-peer.js read BOOTSTRAP TOPIC FOLDER KEY
//     has both raw cores of the drive KEY from peers of that topic; prints
//     {"metadata", "content"}, of each the key and all blocks, in hex

const Hyperswarm = require('hyperswarm4')
const DHT = require('hyperdht')
const Corestore = require('corestore7')
const { Header } = require('hypertrie/lib/messages')

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
  swarm.join(Buffer.from(topic, 'hex'), { server: false, client: true })
  const metadata = await blocks(store, Buffer.from(key, 'hex'))
  const content = await blocks(store, Header.decode(metadata.blocks[0]).metadata)
  const hex = ({ key, blocks }) => ({ key: key.toString('hex'), blocks: blocks.map((block) => block.toString('hex')) })
  console.log(JSON.stringify({ metadata: hex(metadata), content: hex(content) }))
  await swarm.destroy()
  await store.close()
}

// All of a core.
async function blocks (store, key) {
  const core = store.get({ key })
  await core.ready()
  // The first block comes as soon as there is a peer, and with it the length.
  const blocks = [await core.get(0)]
  await core.update({ wait: true })
  while (blocks.length < core.length) blocks.push(await core.get(blocks.length))
  return { key, blocks }
}

(what === 'meet' ? meet(...rest) : read(...rest)).catch((error) => {
  console.error(error.stack)
  process.exit(1)
})
