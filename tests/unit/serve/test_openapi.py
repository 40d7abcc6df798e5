"""The description that programs read is complete, and the server keeps to it."""

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance
from served import TOKEN, Brightness, listening, served

from chiron.serve.app import build_app
from chiron.serve.guard import Rules
from chiron.serve.limits import Limits
from chiron.serve.served_model import ServedModel


def described() -> dict:
    with served() as client:
        return client.get("/openapi.json").json()


def test_every_answer_and_every_refusal_has_a_schema():
    told = described()
    assert set(told["paths"]) == {"/health", "/metrics", "/api/models", "/api/predict", "/api/explain"}
    for path, methods in told["paths"].items():
        for operation in methods.values():
            for code, answer in operation["responses"].items():
                (schema,) = (
                    [it["schema"] for it in answer["content"].values()] if path != "/metrics" else [{"type": ""}]
                )
                assert schema, (path, code)
    predict = told["paths"]["/api/predict"]["post"]
    assert set(predict["responses"]) >= {
        "200",
        "400",
        "401",
        "403",
        "404",
        "408",
        "413",
        "415",
        "422",
        "429",
        "503",
        "504",
    }
    form = predict["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"images", "model", "together", "insist"}
    assert form["properties"]["images"]["maxItems"] == 16
    assert "409" in told["paths"]["/api/explain"]["post"]["responses"]
    assert {"Result", "ModelCard", "Explanation", "Error"} <= set(told["components"]["schemas"])


def test_forms_are_described_by_the_models_that_are_served():
    app = build_app([ServedModel.of("a", Brightness()), ServedModel.of("b", Brightness())], Rules(Limits(max_images=3)))
    form = app.openapi()["paths"]["/api/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["model"]["enum"] == ["a", "b"]
    assert form["properties"]["images"]["maxItems"] == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("token", [None, TOKEN])
def test_schemathesis_finds_no_answer_that_is_not_described(token):
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    count = 0
    with listening(rules=Rules(Limits(requests_per_minute=10**9), token=token)) as address:
        for operation in schemathesis.openapi.from_url(f"{address}/openapi.json").get_all_operations():
            _try(operation.ok(), headers)
            count += 1
    assert count == 5


def _try(operation, headers: dict[str, str]) -> None:
    @hypothesis.given(case=operation.as_strategy())
    @hypothesis.settings(max_examples=200, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
    def keeps_to_it(case):
        case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])  # no schema tells an image

    keeps_to_it()
