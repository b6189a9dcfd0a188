// Plays sessions with the official TypeScript SDK and prints what its client saw.
//
// stdin: {command, args, env, steps, …}; stdout: {steps: [outcome…], seen: [message…]}, as JSON.
// `transport` and `url` take the place of the command where the server is reached over HTTP. With
// `targets`, a list of what differs from session to session, stdout is a list too.
// `modules` says which node_modules holds the SDK, `client` which of its two lines to use: 1 has the
// tasks of revision 2025-11-25 and WebSocket, 2 speaks revision 2026-07-28.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const whole = JSON.parse(readFileSync(0, "utf8"));
const require = createRequire(`${whole.modules}/`);
const line1 = whole.client === "typescript-1";
const types = line1 ? require("@modelcontextprotocol/sdk/types.js") : null;
const sdk = line1
  ? {
      ...require("@modelcontextprotocol/sdk/client/index.js"),
      ...require("@modelcontextprotocol/sdk/client/stdio.js"),
      ...require("@modelcontextprotocol/sdk/client/streamableHttp.js"),
      ...require("@modelcontextprotocol/sdk/client/sse.js"),
      ...require("@modelcontextprotocol/sdk/client/websocket.js"),
    }
  : {
      ...require("@modelcontextprotocol/client"),
      ...require("@modelcontextprotocol/client/stdio"),
    };

function reached({ transport = "stdio", url, command, args, env }) {
  switch (transport) {
    case "stdio":
      return new sdk.StdioClientTransport({ command, args, env });
    case "http":
      return new sdk.StreamableHTTPClientTransport(new URL(url));
    case "sse":
      return new sdk.SSEClientTransport(new URL(url));
    case "websocket":
      return new sdk.WebSocketClientTransport(new URL(url));
    default:
      throw new Error(`this SDK has no transport ${transport}`);
  }
}

async function session(plan) {
  const seen = [];
  const waiting = [];

  function note(method, params) {
    seen.push({ method, params: params ?? null });
    for (const look of waiting) look();
  }

  function until(method, count) {
    return new Promise((resolve) => {
      const look = () => {
        if (seen.filter((message) => message.method === method).length >= count) resolve();
      };
      waiting.push(look);
      look();
    });
  }

  const capabilities = {
    sampling: {},
    elicitation: { form: {}, url: {} },
    roots: { listChanged: true },
  };
  const options = { capabilities };
  if (line1) {
    const { InMemoryTaskStore } = require(
      "@modelcontextprotocol/sdk/experimental/tasks/stores/in-memory.js",
    );
    options.taskStore = new InMemoryTaskStore();
    capabilities.tasks = {
      list: {},
      cancel: {},
      requests: { sampling: { createMessage: {} }, elicitation: { create: {} } },
    };
  } else {
    options.versionNegotiation = { mode: "auto" };
  }
  const client = new sdk.Client({ name: "parity", version: "1.0.0" }, options);

  // What a server asks as a task is answered as one, at once.
  async function answer(request, extra, result) {
    note(request.method, request.params);
    if (!request.params.task) return result;
    const task = await extra.taskStore.createTask({ ttl: request.params.task.ttl });
    await extra.taskStore.storeTaskResult(task.taskId, "completed", result);
    return { task };
  }

  const schemas = line1 && {
    "sampling/createMessage": types.CreateMessageRequestSchema,
    "elicitation/create": types.ElicitRequestSchema,
    "roots/list": types.ListRootsRequestSchema,
  };
  const handle = (method, handler) =>
    client.setRequestHandler(line1 ? schemas[method] : method, handler);

  let roots = plan.roots;
  handle("sampling/createMessage", (request, extra) =>
    answer(request, extra, plan.answers.sampling));
  handle("elicitation/create", (request, extra) =>
    answer(request, extra,
      request.params.mode === "url" ? { action: "accept" } : plan.answers.elicitation));
  handle("roots/list", (request) => {
    note(request.method, request.params);
    return { roots };
  });
  client.fallbackNotificationHandler = async (notification) =>
    note(notification.method, notification.params);

  async function listed(kind) {
    const method = {
      tools: "listTools", prompts: "listPrompts", resources: "listResources",
      templates: "listResourceTemplates",
    }[kind];
    const pages = [];
    let cursor;
    do {
      const page = await client[method](cursor === undefined ? {} : { cursor });
      pages.push(page);
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return pages;
  }

  async function called(step) {
    const params = { name: step.call, arguments: step.arguments ?? {} };
    if (step.task) {
      const messages = [];
      for await (const message of client.experimental.tasks.callToolStream(
        params, types.CallToolResultSchema, { task: { ttl: 60000 } },
      )) {
        if (message.type === "error") throw message.error;
        if (message.type === "result") messages.push(message.result);
        // The states in between are sampled by a timer: which of them are seen is chance.
        else if (message.type === "taskCreated") messages.push({ created: message.task.status });
      }
      return messages.length === 1 ? messages[0] : messages.at(-1);
    }
    const options = {};
    const stop = new AbortController();
    // The SDK drops the last progress if the answer comes in the same read, so that one is left out.
    if (step.progress)
      options.onprogress = (progress) =>
        progress.progress < progress.total && note("progress", progress);
    if (step.cancel) {
      options.signal = stop.signal;
      options.onprogress = () => stop.abort("parity");
    }
    return line1 ? client.callTool(params, undefined, options) : client.callTool(params, options);
  }

  // Starts a task, finds it among the server's tasks, and cancels it; its id is drawn by the server.
  async function taskCancelled(step) {
    const tasks = client.experimental.tasks;
    const call = { name: step.forsake, arguments: step.arguments };
    const created = await client.request(
      { method: "tools/call", params: { ...call, task: { ttl: 60000 } } },
      types.CreateTaskResultSchema,
    );
    const { taskId } = created.task;
    const listed = await tasks.listTasks();
    const cancelled = await tasks.cancelTask(taskId);
    return { listed: listed.tasks.some((task) => task.taskId === taskId), status: cancelled.status };
  }

  let subscription;

  async function play(step) {
    if ("list" in step) return listed(step.list);
    if ("call" in step) return called(step);
    if ("forsake" in step) return taskCancelled(step);
    if ("read" in step) return client.readResource({ uri: step.read });
    if ("prompt" in step) return client.getPrompt({ name: step.prompt, arguments: step.arguments ?? {} });
    if ("complete" in step) {
      const params = { ref: step.complete, argument: step.argument };
      if (step.context) params.context = { arguments: step.context };
      return client.complete(params);
    }
    if ("subscribe" in step) return client.subscribeResource({ uri: step.subscribe });
    if ("unsubscribe" in step) return client.unsubscribeResource({ uri: step.unsubscribe });
    if ("level" in step) return client.setLoggingLevel(step.level);
    if ("roots" in step) {
      roots = step.roots;
      return client.sendRootsListChanged();
    }
    if ("listen" in step) {
      subscription = await client.listen(step.listen);
      return subscription.honoredFilter;
    }
    if ("hear" in step) return Promise.all(step.hear.map((method) => until(method, 1)));
    if ("unlisten" in step) {
      await subscription.close();
      return subscription.closed;
    }
    if ("await" in step) return until(step.await, step.count ?? 1);
    if ("ping" in step) return client.ping();
    throw new Error(`unknown step ${JSON.stringify(step)}`);
  }

  async function outcome(step) {
    try {
      const result = await play(step);
      return { result: result ?? null, failed: result?.isError === true };
    } catch (error) {
      return { error: { code: error.code ?? null, message: error.message }, failed: true };
    }
  }

  await client.connect(reached(plan));
  const steps = [
    {
      result: {
        server: client.getServerVersion() ?? null,
        capabilities: client.getServerCapabilities() ?? null,
        instructions: client.getInstructions() ?? null,
      },
      failed: false,
    },
  ];
  for (const step of plan.steps) steps.push(await outcome(step));
  await client.close();
  options.taskStore?.cleanup();
  return { steps, seen };
}

// One that breaks off, or never ends, is told, and ends no other.
async function told(plan) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("it does not end")), plan.seconds * 1000);
  });
  try {
    return await Promise.race([session(plan), late]);
  } catch (error) {
    return { broken: `${error.stack}` };
  } finally {
    clearTimeout(timer);
  }
}

const answers = [];
if (whole.targets)
  for (const target of whole.targets) answers.push(await told({ ...whole, ...target }));
process.stdout.write(JSON.stringify(whole.targets ? answers : await session(whole)), () =>
  process.exit());
