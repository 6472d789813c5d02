'use strict'
// Networks of hyperdht nodes on this machine, and what echoes in them.

const DHT = require('hyperdht')
const Protomux = require('protomux')
const c = require(require.resolve('compact-encoding', { paths: [require.resolve('protomux')] }))
const dgram = require('dgram')
const { once } = require('events')
const { host } = require('./control')

// A port that is free now: the first node has to name its own.
async function freePort () {
  const socket = dgram.createSocket('udp4').bind(0, host)
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  return port
}

// A network of so many nodes that stay.
async function testnet (count) {
  const first = DHT.bootstrapper(await freePort(), host)
  await first.fullyBootstrapped()
  const bootstrap = [{ host, port: first.address().port }]
  const nodes = [first]
  for (let i = 1; i < count; i++) {
    const node = new DHT({ bootstrap, host, port: 0, ephemeral: false, firewalled: false })
    await node.fullyBootstrapped()
    nodes.push(node)
  }
  return { nodes, bootstrap }
}

// Everything that comes on a channel `echo` of a connection goes back.
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

// Says something on such a channel, and gives what comes back.
function say (connection, text) {
  return new Promise((resolve, reject) => {
    connection.on('error', reject)
    connection.on('close', () => reject(new Error('closed early')))
    const channel = Protomux.from(connection).createChannel({ protocol: 'echo' })
    const message = channel.addMessage({ encoding: c.raw, onmessage: (heard) => resolve(heard.toString()) })
    channel.open()
    message.send(Buffer.from(text))
  })
}

module.exports = { testnet, echo, say }
