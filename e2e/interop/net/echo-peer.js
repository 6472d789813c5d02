'use strict'
// npm @hyperswarm/secret-stream 6 and protomux 3 over TCP: one peer, which does what the
// other side asks for on channels of protocol `echo`.
//
//   node net/echo-peer.js listen          prints `Listening on PORT`
//   node net/echo-peer.js connect PORT
//
// IK=seed names the key pair (of 32 bytes in hex) of pattern IK instead of XX: our own, to
// listen, and the other side's public key, to connect. KEEP_ALIVE=ms sets that.
//
// Prints a line of JSON for everything that happens.

const net = require('node:net')
const { createHash } = require('node:crypto')
const SecretStream = require('@hyperswarm/secret-stream')
const Protomux = require('protomux')
const c = require(require.resolve('compact-encoding', { paths: [require.resolve('protomux')] }))

const [, , role, port] = process.argv
const ik = process.env.IK ? Buffer.from(process.env.IK, 'hex') : null

function say (event, fields) {
  console.log(JSON.stringify({ event, ...fields }))
}

function serve (initiator, socket) {
  const opts = { keepAlive: Number(process.env.KEEP_ALIVE || 0) }
  if (ik) {
    opts.pattern = 'IK'
    if (initiator) opts.remotePublicKey = ik
    else opts.keyPair = SecretStream.keyPair(ik)
  }
  const stream = new SecretStream(initiator, socket, opts)
  stream.on('connect', () => say('connect', {
    publicKey: stream.publicKey.toString('hex'),
    remotePublicKey: stream.remotePublicKey.toString('hex'),
    handshakeHash: stream.handshakeHash.toString('hex'),
    initiator: stream.isInitiator
  }))
  stream.on('error', (err) => say('error', { message: err.message }))
  stream.on('close', () => {
    say('close')
    if (initiator) process.exit(0)
  })

  const mux = Protomux.from(stream)
  mux.pair({ protocol: 'echo' }, (id) => open(mux, stream, 'echo', id))
  // A peer that begins: the other side is told that we are ready by a channel of ours.
  if (initiator) open(mux, stream, 'echo', Buffer.from('first'))
}

function open (mux, stream, protocol, id) {
  const hash = createHash('sha256')
  let received = 0
  const channel = mux.createChannel({
    protocol,
    id,
    handshake: c.string,
    onopen: (handshake) => say('open', { id: String(id), handshake }),
    onclose: (remote) => say('closed', { id: String(id), remote })
  })
  const echo = channel.addMessage({ encoding: c.raw, onmessage: (bytes) => { echo.send(bytes) } })
  // Many at once, in one batch.
  channel.addMessage({
    encoding: c.uint,
    onmessage (count) {
      mux.cork()
      for (let i = 0; i < count; i++) echo.send(Buffer.from('burst ' + i))
      mux.uncork()
    }
  })
  // Much: counted and hashed; an empty one asks for the result.
  channel.addMessage({
    encoding: c.raw,
    onmessage (bytes) {
      received += bytes.length
      hash.update(bytes)
      if (bytes.length === 0) echo.send(Buffer.from(received + ' ' + hash.digest('hex')))
    }
  })
  channel.addMessage({
    encoding: c.string,
    onmessage (what) {
      if (what === 'close') channel.close()
      else if (what === 'end') stream.end()
      else if (what === 'destroy') stream.destroy()
      else if (what.startsWith('open and close ')) {
        open(mux, stream, 'echo', Buffer.from(what.slice(15))).close()
      } else if (what.startsWith('open ')) open(mux, stream, 'echo', Buffer.from(what.slice(5)))
      else say('unknown', { what })
    }
  })
  channel.open('from node')
  return channel
}

if (role === 'listen') {
  const server = net.createServer((socket) => serve(false, socket))
  server.listen(0, '127.0.0.1', () => console.log('Listening on ' + server.address().port))
} else if (role === 'connect') {
  const socket = net.connect(Number(port), '127.0.0.1')
  serve(true, socket)
} else {
  console.error('usage: node net/echo-peer.js listen | connect PORT')
  process.exit(2)
}
