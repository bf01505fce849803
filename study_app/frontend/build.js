// Copies what the browser needs from node_modules to static/vendor, after checking that it is what we tested.
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const vendor = join(here, "..", "static", "vendor");
const source = join(here, "node_modules", "jspsych", "dist", "index.browser.min.js");
const expected = "b58c69e607f2ddbd282f2daec43d882cac18d9e3efdad816215b818d1406d6ce";

function refuse(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}

function read(path) {
  try {
    return readFileSync(path);
  } catch {
    return refuse(`${path}: no such file; run npm ci in study_app/frontend first`);
  }
}

const data = read(source);
const found = createHash("sha256").update(data).digest("hex");
if (found !== expected) {
  refuse(`${source}: expected SHA-256 ${expected}, got ${found}; run npm ci again, or review the new version and put its hash here`);
}

mkdirSync(vendor, { recursive: true });
copyFileSync(join(here, "licences.txt"), join(vendor, "LICENCES.txt"));
const temporary = join(vendor, ".jspsych.js");
const map = /\n?\/\/# sourceMappingURL=.*\s*$/; // the map is not served
writeFileSync(temporary, data.toString("utf8").replace(map, "\n"));
renameSync(temporary, join(vendor, "jspsych.js"));
console.log(`static/vendor/jspsych.js: jsPsych 8.3.0, ${data.length} bytes`);
