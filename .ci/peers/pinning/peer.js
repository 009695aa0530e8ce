// Serves the Pinning Service API at a free port, to whoever has the token that is its argument; prints the URL.
const http = require('http')
const { setup } = require('mock-ipfs-pinning-service')

setup({ token: process.argv[2], loglevel: 'error' }).then((service) => {
  const server = http.createServer(service)
  server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
})
