// Bundles the dashboard into dist/: one page, one script, one style sheet, and nothing from elsewhere.
// A name holds the hash of its content, so that a browser may keep it for ever.

import { build } from "esbuild";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename } from "node:path";

const out = "dist";
await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const { metafile } = await build({
  entryPoints: ["src/main.tsx"],
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  entryNames: "app-[hash]",
  metafile: true,
  legalComments: "eof",
  logLevel: "warning",
});
const names = Object.keys(metafile.outputs).map((path) => basename(path));
const page = (await readFile("src/index.html", "utf8"))
  .replace("app.css", names.find((name) => name.endsWith(".css")))
  .replace("app.js", names.find((name) => name.endsWith(".js")));
await writeFile(`${out}/index.html`, page);
