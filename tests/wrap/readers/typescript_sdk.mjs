// Reads messages with the buffer of the official TypeScript SDK's stdio; prints them, one a line.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.argv[2]}/`);
const { ReadBuffer } = require("@modelcontextprotocol/sdk/shared/stdio.js");
const buffer = new ReadBuffer();
buffer.append(readFileSync(0));
for (;;) {
  let seen = "unreadable";
  try {
    seen = buffer.readMessage();
  } catch {
    // It is told as what it is.
  }
  if (seen === null) break;
  process.stderr.write(`${JSON.stringify(seen)}\n`);
}
