"""How the study is to be cited, held against the published schema of its format."""

import json
import tomllib

import jsonschema
import pytest
import yaml

from mammorgb_utils.runs import PROJECT_ROOT

SCHEMA = json.loads((PROJECT_ROOT / "tests" / "schemas" / "citation_file_format_1.2.0.json").read_text())
CITATION = json.loads(json.dumps(yaml.safe_load((PROJECT_ROOT / "CITATION.cff").read_text()), default=str))


def test_it_follows_the_format():
    jsonschema.validate(CITATION, SCHEMA, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("change", [{"licence": "Apache-2.0"}, {"authors": []}, {"date-released": "yesterday"}])
def test_the_schema_sees_what_is_wrong(change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(CITATION | change, SCHEMA, format_checker=jsonschema.FormatChecker())


def test_version_and_licence_are_those_of_the_package():
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    assert (CITATION["version"], CITATION["license"]) == (project["version"], project["license"])
