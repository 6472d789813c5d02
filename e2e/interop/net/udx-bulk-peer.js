'use strict'
// npm udx-native 1: one stream that carries many bytes one way, for `bench udx`.
//
//   node net/udx-bulk-peer.js give|take BYTES
//
// prints `Listening on ITS_PORT`, and reads the port of the other side, on this machine, from
// its stdin. The stream of who gives is number 1, that of who takes number 2. Who takes prints
// `Took BYTES` at the end.

const UDX = require('udx-native')
const readline = require('node:readline')

const CHUNK = Buffer.alloc(64 << 10, 7)

const [, , mode, bytes] = process.argv
const gives = mode === 'give'
const udx = new UDX()
const socket = udx.createSocket()
socket.bind(0, '127.0.0.1')
const stream = udx.createStream(gives ? 1 : 2)

function give (left) {
  while (left > 0) {
    const chunk = CHUNK.subarray(0, Math.min(left, CHUNK.length))
    left -= chunk.length
    if (!stream.write(chunk)) return stream.once('drain', () => give(left))
  }
  stream.end()
}

function take () {
  let received = 0
  stream.on('data', (data) => { received += data.length })
  stream.on('end', () => {
    console.log('Took ' + received)
    stream.end()
  })
}

readline.createInterface({ input: process.stdin }).once('line', (port) => {
  stream.connect(socket, gives ? 2 : 1, Number(port), '127.0.0.1')
  if (gives) give(Number(bytes))
  else take()
  console.log('Connected')
})

console.log('Listening on ' + socket.address().port)
