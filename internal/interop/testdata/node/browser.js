// Opens a page that redirects, loads a script and uses a WebSocket.
const { chromium } = require("playwright-core");
const [executablePath, server, url, pins] = process.argv.slice(2);

(async () => {
  const browser = await chromium.launch({
    executablePath,
    proxy: { server },
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
      "--ignore-certificate-errors-spki-list=" + pins],
  });
  try {
    const page = await browser.newPage();
    await page.goto(url, { timeout: 45000 });
    await page.waitForFunction(() => document.title == "done", null, { timeout: 15000 });
    console.log(await page.title());
  } finally {
    await browser.close();
  }
})();
