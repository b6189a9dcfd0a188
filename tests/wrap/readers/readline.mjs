// Reads lines with Node's readline; prints those that are not blank as JSON strings, one a line.
import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
for await (const line of lines) {
  if (line.trim()) process.stderr.write(`${JSON.stringify(line)}\n`);
}
