// One upload by tus-js-client. Settings come as JSON in the first argument; what happened goes out as lines of JSON.
import { createReadStream, statSync } from "node:fs";
import { Upload } from "tus-js-client";

const given = JSON.parse(process.argv[2]);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const size = statSync(given.file).size;
let retries = 0;

const upload = new Upload(createReadStream(given.file), {
  endpoint: given.endpoint,
  uploadUrl: given.uploadUrl,
  uploadSize: size,
  chunkSize: given.chunkSize ?? Infinity,
  retryDelays: given.retryDelays ?? [100, 200, 400, 800, 1600, 3200],
  uploadDataDuringCreation: given.uploadDataDuringCreation ?? false,
  overridePatchMethod: given.overridePatchMethod ?? false,
  metadata: given.metadata,
  headers: { Authorization: `Bearer ${given.token}` },
  onShouldRetry: () => (retries += 1) < 30,
  onUploadUrlAvailable: () => say({ url: upload.url }),
  onProgress: (sent) => {
    if (given.abortAfter && sent >= given.abortAfter) {
      upload.abort(given.terminate ?? false).then(() => { say({ aborted: sent }); process.exit(0); });
      given.abortAfter = 0;
    }
  },
  onSuccess: ({ lastResponse }) => say({ done: lastResponse.getHeader("Content-Location") ?? "", retries }),
  onError: (error) => { say({ error: String(error.message), status: error.originalResponse?.getStatus() ?? 0 }); process.exit(1); },
});
upload.start();
