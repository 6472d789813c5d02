'use strict'
// npm peersockets 1 over npm @hyperspace/client: joins the topic "chat" at the server that
// HYPERSPACE_SOCKET names, says "joined", and sends back, in capitals, whatever comes.

const Client = require('@hyperspace/client')
const Peersockets = require('peersockets')

async function main () {
  const client = new Client()
  await client.ready()
  const sockets = new Peersockets(client.network)
  const handle = sockets.join('chat', {
    onmessage: (message, peer) => handle.send(Buffer.from(message.toString().toUpperCase()), peer)
  })
  // Whatever is asked after the registration is answered after it.
  await client.status()
  console.log('joined')
}

main().catch((error) => {
  console.error(error.stack)
  process.exit(1)
})
