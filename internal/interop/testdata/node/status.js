// Opens the status page, logs in, and does what a person would with a mouse and with the keyboard.
// What is wrong is said in an Error.
const { chromium } = require("playwright-core");
const [executablePath, url, shots] = process.argv.slice(2);

function check(ok, what) {
  if (!ok) throw new Error(what);
}

async function login(page, token) {
  await page.goto(url.split("#")[0]);
  await page.waitForSelector("#login:not([hidden])");
  await page.keyboard.type("wrong"); // the field has the focus
  await page.keyboard.press("Enter");
  await page.locator("#wrong", { hasText: "not the token" }).waitFor();
  await page.fill("#token", token);
  await page.keyboard.press("Enter");
  await page.waitForSelector("article");
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"] });
  try {
    const wrong = [];
    const open = async (options) => {
      const page = await (await browser.newContext(options)).newPage();
      page.setDefaultTimeout(15000);
      page.on("pageerror", (e) => wrong.push(e.message));
      page.on("console", (m) => m.type() === "error" && !m.text().includes("401") && wrong.push(m.text()));
      page.on("request", (r) => new URL(r.url()).host === new URL(url).host || wrong.push("a request to " + r.url()));
      return page;
    };

    const page = await open({ viewport: { width: 1180, height: 900 } });
    await login(page, url.split("token=")[1]);
    check(await page.textContent("#opened") === "1" && await page.textContent("#failed") === "1", "the totals are wrong");
    const hops = await page.$$eval("[data-way=out] [data-hop]", (all) => all.map((h) => h.dataset.hop).join());
    check(hops === "near,gone,far", "the hops are " + hops);
    check(await page.$("[data-hop=gone].dead"), "a dead member looks alive");
    check((await page.textContent("#failures tbody tr")).includes("connection refused"), "the failure is not told");
    await page.locator('#pdown path.curve[d^="M"]').waitFor({ state: "attached" }); // after a second

    // By keyboard alone: pause a hop, and let it go on.
    await page.focus('[aria-label="Pause near"]');
    await page.keyboard.press("Enter");
    await page.waitForSelector('[aria-label="Resume near"]');
    console.log("paused");
    await new Promise((done) => process.stdin.once("data", done)); // what that does is looked at meanwhile
    process.stdin.destroy(); // it would keep this program from its end
    await page.focus('[aria-label="Resume near"]');
    await page.keyboard.press("Enter");
    await page.waitForSelector('[aria-label="Pause near"]');

    await page.click("#newid");
    await page.waitForSelector("dialog[open]");
    check((await page.textContent("#dialogtext")).includes("share nothing"), "no new identity");
    await page.keyboard.press("Escape");
    await page.click("[data-way=out] >> text=Probe");
    await page.waitForSelector("dialog[open]");
    check((await page.textContent("#dialogtext")).includes("hop 1/2 near"), "the probe tells nothing");
    await page.keyboard.press("Escape");
    if (shots) await page.screenshot({ path: shots + "/wide.png", fullPage: true });

    for (const [name, options] of Object.entries({
      dark: { viewport: { width: 1180, height: 900 }, colorScheme: "dark" }, narrow: { viewport: { width: 360, height: 800 } },
    })) {
      const page = await open(options);
      await page.goto(url); // with the token behind #
      await page.waitForSelector("article");
      check(!page.url().includes("token"), "the token stays in the address");
      check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), name + ": the page is wider than its window");
      const [fg, bg] = await page.evaluate(() => [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]);
      const light = (c) => c.match(/\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0);
      check((light(fg) > light(bg)) === (name === "dark"), name + ": the colours are " + fg + " on " + bg);
      if (shots) await page.screenshot({ path: shots + "/" + name + ".png", fullPage: true });
    }
    check(wrong.length === 0, wrong.join("; "));
    console.log("done");
  } finally {
    await browser.close();
  }
})().catch((e) => {
  console.error(e.message);
  process.exit(1);
});
