"""What goes wrong is told in a sentence near what caused it, and the images stay."""

import pytest
from page_stand_in import card, ok

pytestmark = pytest.mark.slow


def test_a_refusal_is_told_and_the_images_stay(server, open_page, image_files):
    server.refuse("/api/predict", 422, "unreadable", "A file must be an image. Got other content in image 1.")
    page = open_page(server.url, mayfail=True)
    page.set_input_files("#files", image_files[:2])
    page.click("#run-button")
    page.wait_for_selector("#run .problem[role=alert]")
    assert "A file must be an image. Got other content in image 1." in page.inner_text("#run")
    assert page.locator(".images li").count() == 2
    server.answers["/api/predict"] = (200, {}, {})
    box, button = page.locator("#run .problem").bounding_box(), page.locator("#run-button").bounding_box()
    assert abs(box["y"] + box["height"] - button["y"]) < 40


def test_a_server_that_is_gone_is_told_and_tried_again(server, open_page, image_files):
    page = open_page(server.url, mayfail=True)
    page.set_input_files("#files", image_files[0])
    page.route("**/api/predict", lambda route: route.abort())
    page.click("#run-button")
    page.wait_for_selector("#run .problem")
    assert "The server does not answer. Your images are kept" in page.inner_text("#run")
    page.unroute("**/api/predict")
    page.click("#run-button")
    page.wait_for_selector(".result")
    assert page.locator(".problem").count() == 0


def test_a_server_that_is_gone_at_the_start(server, open_page):
    server.refuse("/api/models", 503, "busy", "The server is busy.")
    page = open_page(server.url, mayfail=True, wait="#again")
    assert "The server is busy." in page.inner_text("#run")
    server.answers["/api/models"] = ok({"models": [card()], "disclaimer": ""})
    page.click("#again")
    page.wait_for_selector("#about-title")
    assert page.locator(".problem").count() == 0


def test_too_many_requests_say_when_to_come_again(server, open_page, image_files):
    server.refuse("/api/predict", 429, "rate_limit", "Too many requests came from here.", **{"Retry-After": "7"})
    page = open_page(server.url, mayfail=True)
    page.set_input_files("#files", image_files[0])
    page.click("#run-button")
    page.wait_for_selector("#run .problem")
    assert "Try again in 7 seconds." in page.inner_text("#run")


def test_an_answer_that_is_no_json_is_told(server, open_page, image_files):
    page = open_page(server.url, mayfail=True)
    page.set_input_files("#files", image_files[0])
    page.route("**/api/predict", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    page.click("#run-button")
    page.wait_for_selector("#run .problem")
    assert "an answer that this page does not understand" in page.inner_text("#run")
    assert "Bad gateway" not in page.inner_text("#run")


def test_what_would_be_refused_is_not_sent(server, open_page, image_files, tmp_path):
    page = open_page(server.url)
    page.set_input_files("#files", [*image_files, image_files[0]])  # of at most three
    assert "At most 3 images can be read at a time. There are 4" in page.inner_text("#images")
    page.evaluate("document.getElementById('run-button').click()")
    page.click(".remove >> nth=0")
    assert page.locator("#images .problem").count() == 0
    large = tmp_path / "large.png"
    large.write_bytes(bytes(1 << 20))
    page.click(".remove >> nth=0")
    page.set_input_files("#files", large)
    assert "At most 1.0 MB can be sent at a time. These images have 1.0 MB" in page.inner_text("#images")
    page.evaluate("document.getElementById('run-button').click()")
    page.wait_for_timeout(200)
    assert not server.of("/api/predict")


def test_a_token_is_asked_for_and_kept_in_memory_alone(server, open_page, image_files):
    def guarded(answer):
        def given(asked):
            if asked.headers.get("Authorization") == "Bearer secret":
                return answer(asked) if callable(answer) else answer
            return 401, {"error": "The request must carry the server's token.", "kind": "token"}, {}

        return given

    server.answers = {path: guarded(answer) for path, answer in server.answers.items()}
    page = open_page(server.url, mayfail=True, wait="#token-field")
    assert page.get_attribute("#token-field", "type") == "password"
    page.fill("#token-field", "wrong")
    page.click("#token-enter")
    page.wait_for_selector("label:has-text('did not accept this token')")
    page.fill("#token-field", "secret")
    page.press("#token-field", "Enter")
    page.wait_for_selector("#about-title")
    page.set_input_files("#files", image_files[0])
    page.click("#run-button")
    page.wait_for_selector(".result")
    assert page.locator("#token-field").count() == 0
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
    assert "secret" not in kept
    page.reload()
    page.wait_for_selector("#token-field")  # forgotten


def test_in_chinese_a_problem_is_told_in_chinese_with_the_servers_sentence(server, open_page, image_files):
    page = open_page(server.url, mayfail=True, locale="zh-CN")
    page.set_input_files("#files", image_files[0])
    server.refuse("/api/predict", 503, "busy", "The server is busy.", **{"Retry-After": "2"})
    page.click("#run-button")
    page.wait_for_selector("#run .problem")
    assert "未能完成" in page.inner_text("#run")
    assert "请在 2 秒后重试" in page.inner_text("#run")
    assert page.locator("#run .problem [lang=en]").inner_text() == "The server is busy."
