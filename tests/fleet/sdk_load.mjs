// Calls a tool with the official TypeScript SDK until stdin ends:
// `sdk_load.mjs URL LINE PREFIX MODULES`, with the SDK's line 1 or 2 out of a node_modules.
//
// Prints a line of JSON for each call: its id, when it began and ended in seconds since 1970, and
// its error or null.
import { createRequire } from "node:module";

const [url, line, prefix, modules] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const sdk = line === "1"
  ? {
      ...require("@modelcontextprotocol/sdk/client/index.js"),
      ...require("@modelcontextprotocol/sdk/client/streamableHttp.js"),
    }
  : require("@modelcontextprotocol/client");
const options = line === "1" ? {} : { versionNegotiation: { mode: "auto" } };
const now = () => Date.now() / 1000;
let isStopped = false;
process.stdin.on("end", () => { isStopped = true; });
process.stdin.resume();

let number = 0;
async function callOnce(client) {
  const name = `${prefix}-${++number}`;
  const began = now();
  let error = null;
  try {
    const result = await client.callTool(
      { name: "counting__count", arguments: { id: name, seconds: 0.05 } },
    );
    if (result.isError || result.content[0].text !== name) error = JSON.stringify(result);
  } catch (raised) {
    error = String(raised);
  }
  console.log(JSON.stringify([name, began, now(), error]));
  return error === null;
}

while (!isStopped) {
  const client = new sdk.Client({ name: "load", version: "1.0.0" }, options);
  try {
    await client.connect(new sdk.StreamableHTTPClientTransport(new URL(url)));
    while (!isStopped && await callOnce(client));
    await client.close();
  } catch (raised) {
    console.error(String(raised));
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}
