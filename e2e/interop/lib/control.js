'use strict'
// A program that does what it is told over a TCP connection, a line of JSON each
// ({"do": "name", ...}), and says there what came of it: {"result"} or {"error"}.

const net = require('net')
const readline = require('readline')
const { once } = require('events')

const host = '127.0.0.1'

// Listens for whoever tells it, and prints where, with some more facts.
async function obey (commands, facts) {
  const server = net.createServer((socket) => {
    const say = (answer) => socket.write(JSON.stringify(answer) + '\n')
    readline.createInterface({ input: socket }).on('line', async (line) => {
      const { do: name, ...argument } = JSON.parse(line)
      try {
        say({ result: (await commands[name](argument)) ?? null })
      } catch (error) {
        say({ error: error.code || error.message })
      }
    })
  })
  server.listen(0, host)
  await once(server, 'listening')
  console.log(JSON.stringify({ control: server.address().port, ...facts }))
}

const hex = (buffer) => Buffer.from(buffer).toString('hex')
const bytes = (text) => Buffer.from(text, 'hex')

module.exports = { host, obey, hex, bytes }
