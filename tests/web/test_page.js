// SPDX-License-Identifier: BSD-3-Clause
//
// test_page.js URL CHROMIUM PROFILE PDF PAGES [SCREENSHOTS] - uses the page as its visitors do: with
// the mouse and by keyboard alone, on a phone, and without script.
"use strict";

const { spawn } = require("child_process");
const { once } = require("events");
const readline = require("readline");
const { chromium } = require("playwright-core");
const [url, executablePath, profile, pdf, pagesText, screenshots] = process.argv.slice(2);
const pages = Number(pagesText);
let failures = 0;

function check(name, holds, detail = "") {
  console.log(`${holds ? "ok" : "not ok"} - ${name}${detail && ` (${detail})`}`);
  if (!holds) failures++;
}

const drawn = (page) => page.evaluate(() =>
  [...document.querySelectorAll(".pages img")].filter((i) => i.complete && i.naturalWidth).length);

async function picture(page, name) {
  if (screenshots) await page.screenshot({ path: `${screenshots}/${name}.png` });
}

// Complaints that are expected do not count.
async function inBrowser(browser, options, work, expected) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.setDefaultTimeout(20000);
  await work(page);
  const others = complaints.filter((text) => !expected?.test(text));
  check("no errors in the console", others.length === 0, others.join("; "));
  await context.close();
}

async function everyPageAppears(page) {
  await page.goto(url);
  await page.waitForSelector("#workers tr");
  await page.setInputFiles("#document", pdf);
  await page.click("button");
  await page.waitForFunction(() => document.querySelector(".pages img")?.naturalWidth > 0);
  const first = await page.evaluate(() => {
    const entry = performance.getEntriesByType("resource").find((e) => e.name.endsWith("/1"));
    const [load] = performance.getEntriesByType("navigation");
    return [load.responseStart, load.responseEnd, entry.startTime, entry.responseEnd].map(Math.round);
  });
  console.log(`# since the upload began, ms: answer ${first[0]} to ${first[1]}, ` +
    `first picture asked for ${first[2]}, there ${first[3]}`);
  await picture(page, "web-page");
  await page.waitForFunction((count) => [...document.querySelectorAll(".pages img")]
    .filter((i) => i.complete && i.naturalWidth).length === count, pages);
  check("every page appears", (await drawn(page)) === pages);
  await page.waitForFunction((count) =>
    document.querySelector("#summary").textContent.startsWith(`${count} of ${count}`), pages);
  const summary = await page.textContent("#summary");
  check("the time is shown beside the serial one", /one after the other: [\d.]+ s/.test(summary), summary);
  check("what is read aloud is that all are there",
    (await page.textContent("[role=status]")) === "All pages are drawn.");
}

async function keyboardIsEnough(page) {
  // The browser is told of the listener some time later: long before the key, then.
  const chooser = page.waitForEvent("filechooser");
  await page.goto(url);
  await page.keyboard.press("Tab");
  check("the first stop is the file", await page.evaluate(() => document.activeElement.id === "document"));
  await page.keyboard.press("Space");
  await (await chooser).setFiles(pdf);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".pages");
  check("a document is shown by keyboard alone", page.url().includes("/documents/"));
}

async function phoneFits(page) {
  await page.goto(url);
  await page.setInputFiles("#document", pdf);
  await page.click("button");
  await page.waitForFunction(() => document.querySelector(".pages img")?.naturalWidth > 0);
  await page.waitForSelector("#workers tr");
  check("nothing is wider than a phone", await page.evaluate(() =>
    document.documentElement.scrollWidth <= innerWidth));
  await picture(page, "web-phone");
}

// As the browser says it where it keeps pages that were left.
async function wayBackLeadsToALivePage(page) {
  await page.goto(url);
  await page.waitForSelector("#workers tr");
  const again = page.waitForRequest(/\/events/);
  await page.evaluate(() => {
    document.querySelector("form").dispatchEvent(new Event("submit"));
    dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
  });
  await again;
  check("a page that is shown again is live", (await page.textContent("#message")) === "");
}

async function refusalIsNotTheEnd(page) {
  await page.route(/\/events/, (route) => route.fulfill({ status: 503 }), { times: 1 });
  await page.goto(url);
  await page.waitForSelector("#workers tr");
  check("the state is there after a refusal", true);
}

async function scriptIsNotNeeded(page) {
  await page.goto(url);
  await page.setInputFiles("#document", pdf);
  await page.click("button");
  await page.waitForSelector(".pages");
  const picture = await page.request.get(new URL("1", page.url()).href);
  check("a plain form leads to the pages", picture.headers()["content-type"] === "image/png");
  check("all pages are there", (await page.locator(".pages img").count()) === pages);
}

// Where the kernel shares the machine between sessions (sched_autogroup), a browser in a session
// of its own, as playwright starts it, makes the server wait for hundreds of milliseconds: not
// the page is measured then. So it is started in ours.
function startBrowser() {
  return spawn(executablePath, ["--headless", "--no-sandbox", "--hide-scrollbars",
    "--no-first-run", "--no-startup-window", "--remote-debugging-port=0", `--user-data-dir=${profile}`],
    { stdio: ["ignore", "ignore", "pipe"] });
}

async function connect(child) {
  const endpoint = await new Promise((resolve, reject) => {
    child.on("exit", () => reject(new Error(`${executablePath} ended instead of starting`)));
    child.on("error", reject);
    readline.createInterface({ input: child.stderr }).on("line", (line) => {
      const found = /^DevTools listening on (.*)/.exec(line);
      if (found) resolve(found[1]);
    });
  });
  return chromium.connectOverCDP(endpoint);
}

async function visit(browser) {
  await inBrowser(browser, { viewport: { width: 1000, height: 640 } }, everyPageAppears);
  await inBrowser(browser, {}, keyboardIsEnough);
  await inBrowser(browser, { viewport: { width: 390, height: 700 }, isMobile: true }, phoneFits);
  await inBrowser(browser, {}, wayBackLeadsToALivePage);
  await inBrowser(browser, {}, refusalIsNotTheEnd, /503/);
  await inBrowser(browser, { javaScriptEnabled: false }, scriptIsNotNeeded);
}

(async () => {
  const child = startBrowser();
  const ended = once(child, "exit");
  process.on("exit", () => child.kill());
  try {
    await visit(await connect(child));
  } catch (error) {
    check("the page can be visited", false, error.message);
  }
  child.kill();
  await ended;
  process.exit(failures ? 1 : 0);
})().catch((error) => {
  console.log(`not ok - ${error.message}`);
  process.exit(1);
});
