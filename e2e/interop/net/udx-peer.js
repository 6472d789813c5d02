'use strict'
// npm udx-native 1: one stream, which does what it is told.
//
//   node net/udx-peer.js MODE PORT ID [BYTES]
//
// connects a stream of number 7 to stream ID at PORT of this machine, and prints
// `Listening on ITS_PORT`. MODE is one of
//
//   echo        sends back what comes, bytes as bytes and messages as messages, and ends when
//               the other side has
//   both        sends BYTES bytes and ends, and looks at what comes
//   destroy     gives the stream up once something has come
//   secret      secret-stream (as the one who opens it, if ID is even) and protomux: echoes on
//               channels of protocol `echo`, and unordered messages
//
// HOST names another address of this machine. Prints a line of JSON for everything that
// happens.

const UDX = require('udx-native')

const [, , mode, port, id, bytes] = process.argv
const host = process.env.HOST || '127.0.0.1'
const udx = new UDX()
const socket = udx.createSocket()
socket.bind(0, host)
const stream = udx.createStream(7)
stream.connect(socket, Number(id), Number(port), host)

function say (event, fields) {
  console.log(JSON.stringify({ event, ...fields }))
}

// The byte at this place of what both sides send.
function byte (at) {
  return (at ^ (at >> 8) ^ (at >> 16)) & 0xff
}

function send (count) {
  let at = 0
  const more = () => {
    while (at < count) {
      const chunk = Buffer.allocUnsafe(Math.min(65536, count - at))
      for (let i = 0; i < chunk.length; i++) chunk[i] = byte(at + i)
      at += chunk.length
      if (!stream.write(chunk)) return stream.once('drain', more)
    }
    stream.end()
  }
  more()
}

stream.on('error', (err) => say('error', { code: err.code }))
stream.on('close', () => {
  say('close', { mtu: stream.mtu })
  socket.close()
})

if (mode === 'secret') {
  secret(Number(id) % 2 === 0)
} else {
  let received = 0
  let wrong = 0
  stream.on('data', (data) => {
    if (mode === 'echo') stream.write(data)
    else if (mode === 'destroy') stream.destroy()
    else for (let i = 0; i < data.length; i++) wrong += data[i] !== byte(received + i)
    received += data.length
  })
  stream.on('message', (message) => stream.trySend(message))
  stream.on('end', () => {
    say('end', { received, wrong })
    if (mode === 'echo') stream.end()
  })
  if (mode === 'both') send(Number(bytes))
}

function secret (initiator) {
  const SecretStream = require('@hyperswarm/secret-stream')
  const Protomux = require('protomux')
  const c = require(require.resolve('compact-encoding', { paths: [require.resolve('protomux')] }))
  const noise = new SecretStream(initiator, stream)
  noise.on('error', (err) => say('error', { code: err.code }))
  noise.on('close', () => say('closed'))
  const mux = Protomux.from(noise)
  const open = (id) => {
    const channel = mux.createChannel({ protocol: 'echo', id })
    const echo = channel.addMessage({ encoding: c.raw, onmessage: (data) => { echo.send(data) } })
    channel.open()
  }
  mux.pair({ protocol: 'echo' }, open)
}

console.log('Listening on ' + socket.address().port)
