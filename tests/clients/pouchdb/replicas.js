// Databases of PouchDB, driven by tests: one JSON command a line on standard input, one JSON answer a line on standard output.
import readline from "node:readline";
import http from "pouchdb-adapter-http";
import memory from "pouchdb-adapter-memory";
import PouchDB from "pouchdb-core";
import find from "pouchdb-find";
import mapreduce from "pouchdb-mapreduce";
import replication from "pouchdb-replication";

PouchDB.plugin(http).plugin(memory).plugin(replication).plugin(mapreduce).plugin(find);

const databases = new Map();
const syncs = new Map();

const commands = {
  // A database in memory, or with an address, one over HTTP.
  async open({ name, url, token }) {
    const options = url
      ? { fetch: (address, given) => (given.headers.set("Authorization", `Bearer ${token}`), PouchDB.fetch(address, given)) }
      : { adapter: "memory" };
    databases.set(name, new PouchDB(url ?? name, options));
  },

  // Any method of a database.
  async call({ name, method, args }) {
    return databases.get(name)[method](...args);
  },

  async replicate({ from, to, options }) {
    const done = await PouchDB.replicate(databases.get(from), databases.get(to), options ?? {});
    return { ok: done.ok, read: done.docs_read, written: done.docs_written, failures: done.doc_write_failures };
  },

  async startSync({ name, one, other }) {
    const sync = PouchDB.sync(databases.get(one), databases.get(other), { live: true, retry: true });
    const state = { sync, paused: 0, errors: [] };
    sync.on("paused", () => (state.paused += 1));
    sync.on("error", (error) => state.errors.push(String(error)));
    sync.on("denied", (error) => state.errors.push(JSON.stringify(error)));
    syncs.set(name, state);
  },

  async stopSync({ name }) {
    const { sync, errors } = syncs.get(name);
    sync.cancel();
    syncs.delete(name);
    return errors;
  },

  // What a replica holds: for each document its winner, whether that is deleted, and all its leaves.
  async state({ name }) {
    const feed = await databases.get(name).changes({ style: "all_docs", include_docs: true });
    return Object.fromEntries(
      feed.results.map(({ id, doc, changes, deleted }) => [
        id,
        { winner: doc._rev, deleted: deleted === true, leaves: changes.map(({ rev }) => rev).sort() },
      ]),
    );
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { command, ...given } = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await commands[command](given)) ?? null };
  } catch (error) {
    answer = { error: { status: error.status, name: error.name, reason: error.reason, message: error.message } };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
process.exit(0);
