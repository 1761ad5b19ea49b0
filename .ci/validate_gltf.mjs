// Khronos' glTF-Validator over files: node validate_gltf.mjs FOLDER-WITH-NODE_MODULES FILE...
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [modules, ...files] = process.argv.slice(2);
const require = createRequire(resolve(modules, "package.json"));
const { validateBytes } = require("gltf-validator");

let failed = files.length === 0;
for (const file of files) {
  const report = await validateBytes(new Uint8Array(readFileSync(file)), { uri: file });
  const { numErrors, numWarnings, messages } = report.issues;
  console.log(`${file}: ${numErrors} errors, ${numWarnings} warnings`);
  for (const message of messages.filter((m) => m.severity === 0).slice(0, 10)) {
    console.log(`  ${message.code} ${message.pointer ?? ""} ${message.message}`);
  }
  failed ||= numErrors > 0;
}
process.exit(failed ? 1 : 0);
