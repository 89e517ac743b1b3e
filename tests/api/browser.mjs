// Chromium at a running host: browser.mjs BASE FOREIGN-PORT. Says what it has seen, a line a step, and goes on by lines of stdin.
import http from 'node:http'
import process from 'node:process'
import readline from 'node:readline'
import { createRequire } from 'node:module'

const require = createRequire(process.env.NODE_MODULES + '/')
const { chromium } = require('playwright-core')
const base = process.argv[2]
const steps = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (...words) => console.log(words.join(' '))

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync']
})
const page = await browser.newPage()
const complaints = []
page.on('pageerror', error => complaints.push(String(error)))
await page.goto(base + '/live', { waitUntil: 'domcontentloaded' })

// The stream: each message in order, and how often it was opened.
await page.evaluate(() => {
  const seen = window.seen = { opened: 0, errors: 0, status: [], facts: [], ids: [] }
  const source = window.source = new EventSource('/stream?topics=status,facts')
  source.onopen = () => seen.opened++
  source.onerror = () => seen.errors++
  for (const topic of ['status', 'facts']) {
    source.addEventListener(topic, event => {
      seen[topic].push(JSON.parse(event.data))
      seen.ids.push(Number(event.lastEventId))
    })
  }
})
const until = (what, condition) => page.waitForFunction(condition, null, { timeout: 20000, polling: 50 })
  .catch(async () => { throw new Error(what + ' did not come: ' + JSON.stringify(await page.evaluate(() => window.seen))) })

await until('the whole status', () => window.seen.status.some(status => status.version))
say('whole', await page.evaluate(() => window.seen.status[0].version))

// A change from the host's own page.
const posted = await page.evaluate(async () => {
  const response = await fetch('/facts/edge', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ from: 1, to: 2 })
  })
  return response.status + ' ' + (await response.json()).new
})
say('posted', posted)
await until('a status that changed', () => window.seen.status.some((status, i) => i > 0 && status.facts >= 2))
await until('facts', () => window.seen.facts.some(facts => facts.rows.some(row => row.kind === 'path')))
say('changed', await page.evaluate(() => window.seen.ids.every((id, i, ids) => i === 0 || id >= ids[i - 1])))

await steps.next() // the front is killed and comes back
await until('the second opening', () => window.seen.opened >= 2)
await page.evaluate(() => { window.seen.again = window.seen.status.length })
say('again', await page.evaluate(() => window.seen.errors > 0))
await steps.next() // facts have come meanwhile
await until('the new status', () => window.seen.status.some(status => status.facts >= 20))
say('current', await page.evaluate(() => window.seen.status.filter(status => status.version).length >= 2))

// A page from elsewhere may neither change nor read.
const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'text/html')
  response.end('<!doctype html><title>elsewhere</title>')
}).listen(0, '127.0.0.1')
await new Promise(resolve => server.on('listening', resolve))
const foreign = await browser.newPage()
for (const host of ['127.0.0.1', 'localhost']) {
  await foreign.goto(`http://${host}:${server.address().port}/`)
  const result = await foreign.evaluate(async base => {
    const tell = promise => promise.then(response => response.type + ' ' + response.status, () => 'failed')
    return [
      await tell(fetch(base + '/facts/note', { method: 'POST', mode: 'no-cors', headers: { 'Content-Type': 'text/plain' }, body: 'from elsewhere' })),
      await tell(fetch(base + '/facts/edge', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"from":7,"to":8}' })),
      await tell(fetch(base + '/status')),
      await new Promise(resolve => {
        const source = new EventSource(base + '/stream?topics=status')
        source.onerror = () => { source.close(); resolve('failed') }
        source.onmessage = source.onopen = () => resolve('opened')
      })
    ].join(', ')
  }, base)
  say('elsewhere', host, result)
}
say('complaints', complaints.length, complaints.join(' | '))
await browser.close()
server.close()
process.exit(0)
