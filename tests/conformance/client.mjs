// A client for the official suite: uses all that the server at the address offers, and goes.
//
//   node client.mjs MODULES [COMMAND… --] URL
//
// Made with the official TypeScript SDK, which MODULES, a node_modules, holds. It reaches the address
// itself, or, where a command is given, through the stdio server `COMMAND… URL`. The suite says by
// its environment which revision to speak, and for some scenarios what to call.
import { createRequire } from "node:module";

const [modules, ...rest] = process.argv.slice(2);
const url = rest.pop();
const command = rest.filter((word) => word !== "--");
const require = createRequire(`${modules}/`);
const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
const { StdioClientTransport } = require("@modelcontextprotocol/client/stdio");

const revision = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION ?? "2025-11-25";
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? "{}");
const isModern = revision >= "2026-07-28";
const supportedProtocolVersions = isModern ? undefined : [revision];

const client = new Client(
  { name: "conformance", version: "1.0.0" },
  {
    capabilities: {
      elicitation: { form: { applyDefaults: true } },
      sampling: {},
      roots: { listChanged: true },
    },
    ...(supportedProtocolVersions && { supportedProtocolVersions }),
    versionNegotiation: { mode: isModern ? { pin: revision } : "legacy" },
  },
);
client.setRequestHandler("elicitation/create", () => ({ action: "accept", content: {} }));
client.setRequestHandler("sampling/createMessage", () => ({
  role: "assistant", model: "none", content: { type: "text", text: "A word." },
}));
client.setRequestHandler("roots/list", () => ({ roots: [] }));

const transport = command.length
  ? new StdioClientTransport({
      command: command[0], args: [...command.slice(1), url], env: process.env, stderr: "inherit",
    })
  : new StreamableHTTPClientTransport(new URL(url));

// The first value that a schema allows; the whole of another tool's schema, where one is asked for.
function example(schema, tools) {
  if (schema.enum) return schema.enum[0];
  switch (schema.type) {
    case "number":
    case "integer":
      return 1;
    case "boolean":
      return true;
    case "array":
      return [];
    case "object":
      return tools.find((tool) => tool.inputSchema.$defs)?.inputSchema ?? {};
    default:
      return "word";
  }
}

function call(tool, tools) {
  const { properties = {}, required = [] } = tool.inputSchema;
  const pairs = required.map((name) => [name, example(properties[name] ?? {}, tools)]);
  return { name: tool.name, arguments: Object.fromEntries(pairs) };
}

async function tried(work) {
  try {
    await work();
  } catch (error) {
    console.error(`${error.code ?? ""} ${error.message}`);
  }
}

await client.connect(transport);
const offers = client.getServerCapabilities() ?? {};
if (offers.tools) {
  const { tools } = await client.listTools();
  const calls = context.toolCalls ?? tools.map((tool) => call(tool, tools));
  for (const params of calls) await tried(() => client.callTool(params));
} else await tried(() => client.listTools());
if (offers.resources)
  await tried(async () => {
    const { resources } = await client.listResources();
    for (const { uri } of resources) await client.readResource({ uri });
  });
if (offers.prompts)
  await tried(async () => {
    const { prompts } = await client.listPrompts();
    for (const { name } of prompts) await client.getPrompt({ name });
  });
await client.close();
