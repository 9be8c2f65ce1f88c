# SPDX-License-Identifier: BSD-2-Clause
"""A browser for the tests: Debian's Chromium, driven by selenium."""

import json
import os
import shutil

import kms

try:
    from selenium import webdriver
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
except ImportError:
    webdriver = None

PATIENCE_S = 60


def need():
    """Skips the test where there is no browser."""
    if not webdriver:
        kms.skip("python3-selenium is not installed")
    kms.need("chromium", "chromedriver")


class Browser:
    """One window. Use in a with statement; what goes wrong in the page is in problems()."""

    def __init__(self, width=1300, height=1000):
        options = Options()
        arguments = ["--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
                     "--disable-background-networking", "--disable-dev-shm-usage",
                     f"--window-size={width},{height}"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        for argument in arguments:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = Service(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(service=service, options=options)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.driver.quit()

    def open(self, url):
        self.driver.get(url)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, condition, what):
        """The first true value of condition(); a part that is redrawn meanwhile is asked again."""
        def ask():
            try:
                return condition()
            except StaleElementReferenceException:
                return None  # the page was being drawn

        return kms.wait_for(ask, PATIENCE_S, what, pause_s=0.05)

    def one(self, selector):
        """The first element that fits, as soon as there is one."""
        return self.wait(lambda: (self.all(selector) or [None])[0], selector)

    def script(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def values(self):
        """What the page shows, exactly: tiles, guard and rows, by the names that a person sees."""
        text = self.script("""
            const value = (e) => e.querySelector('data')?.value ?? e.textContent.trim();
            const rows = (id) => [...document.querySelectorAll(`#${id} tr.row`)].map((row) => {
                const heads = [...row.closest('table').querySelectorAll('th')];
                const cells = [...row.children].map((cell, i) =>
                    [heads[i].textContent.replace(/[ ▲▼]+$/, ''), value(cell)]);
                return {id: row.dataset.id, ...Object.fromEntries(cells)};
            });
            return JSON.stringify({
                tiles: Object.fromEntries([...document.querySelectorAll('.tile')].map((tile) =>
                    [tile.querySelector('.name').textContent.replace(' !', ''), value(tile)])),
                guard: Object.fromEntries([...document.querySelectorAll('#guard .figures > div')].map((figure) =>
                    [figure.querySelector('dt').textContent, value(figure.querySelector('dd'))])),
                state: document.querySelector('header .state')?.textContent,
                leaks: rows('leaks'), faults: rows('faults'), caches: rows('caches'),
            });""")
        return json.loads(text)

    def problems(self):
        """Errors of the page since the last call: scripts, policy, requests that failed."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] == "SEVERE"]

    def requests(self):
        """Addresses that the page asked for since the last call."""
        seen = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                seen.append(message["params"]["request"]["url"])
        return seen

    def press(self, keys):
        """Keys to whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(keys)

    def screenshot(self, path):
        self.driver.save_screenshot(str(path))
