// Render a GLB's base colour through the camera inside it, with three.js in a headless Chromium.
// node render.mjs MODULES CHROMIUM FILE.glb WIDTH HEIGHT OUT.png
import { createServer } from "node:http";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, normalize, resolve } from "node:path";

const [modules, chromium, file, width, height, out] = process.argv.slice(2);
const require = createRequire(resolve(modules, "package.json"));
const puppeteer = require("puppeteer-core");
const three = join(resolve(modules), "node_modules", "three");

const page = `<!doctype html><script type="importmap">{"imports": {
  "three": "/three/build/three.module.js", "three/addons/": "/three/examples/jsm/"}}</script>
<body style="margin:0"><script type="module">
import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
try {
  const renderer = new THREE.WebGLRenderer({ alpha: true, preserveDrawingBuffer: true });
  renderer.setSize(${width}, ${height});
  renderer.setClearColor(0x000000, 0);
  document.body.append(renderer.domElement);
  const gltf = await new GLTFLoader().loadAsync("/model.glb");
  const maps = new Set();
  gltf.scene.traverse((node) => {
    if (!node.isMesh) return;
    const from = node.material;
    for (const name of ["map", "normalMap", "aoMap", "roughnessMap", "metalnessMap"])
      if (from[name]) maps.add(name);
    // What an emission material shows: the base colour, without light.
    node.material = new THREE.MeshBasicMaterial({ map: from.map, toneMapped: false });
  });
  const camera = gltf.cameras[0];
  camera.aspect = ${width} / ${height};
  camera.updateProjectionMatrix();
  gltf.scene.updateMatrixWorld(true);
  renderer.render(gltf.scene, camera);
  window.result = { png: renderer.domElement.toDataURL("image/png"), maps: [...maps].sort() };
} catch (error) {
  window.result = { error: String(error) };
}
</script>`;

const server = createServer((request, response) => {
  const path = normalize(new URL(request.url, "http://localhost").pathname);
  try {
    if (path === "/") {
      response.writeHead(200, { "Content-Type": "text/html" }).end(page);
    } else if (path === "/model.glb") {
      response.writeHead(200, { "Content-Type": "model/gltf-binary" }).end(readFileSync(file));
    } else if (path.startsWith("/three/")) {
      const data = readFileSync(join(three, path.slice("/three/".length)));
      response.writeHead(200, { "Content-Type": "text/javascript" }).end(data);
    } else {
      response.writeHead(404).end();
    }
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const browser = await puppeteer.launch({
  executablePath: chromium,
  headless: true,
  args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
});
let failed = "";
try {
  const tab = await browser.newPage();
  tab.on("pageerror", (error) => (failed = String(error)));
  await tab.goto(`http://127.0.0.1:${server.address().port}/`);
  await tab.waitForFunction("window.result !== undefined", { timeout: 120000 });
  const result = await tab.evaluate("window.result");
  if (result.error) failed = result.error;
  else {
    writeFileSync(out, Buffer.from(result.png.split(",")[1], "base64"));
    console.log(JSON.stringify({ maps: result.maps }));
  }
} catch (error) {
  failed = failed || String(error);
} finally {
  await browser.close();
  server.close();
}
if (failed) {
  console.error(failed);
  process.exit(1);
}
