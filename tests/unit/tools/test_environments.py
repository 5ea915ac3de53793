"""Environments from lock files, with the indexes that pip is set up for."""

from __future__ import annotations

import pytest

from tools.environments import requirement_of, uv_settings

LOCK = """\
rich==1.0 \\
    --hash=sha256:aa
    # via x
uv==0.1 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via -r requirements/dev.in
virtualenv==2.0 \\
    --hash=sha256:dd
"""


def test_uv_looks_where_pip_looks() -> None:
    settings = uv_settings(
        "global.cert='/certs.pem'\n"
        "global.extra-index-url='https://one.example/simple https://two.example/simple'\n"
        "global.find-links='/wheels'\n"
        "global.index-url='https://other.example/simple'\n"
        ":env:.index-url='https://index.example/simple'\n"
        "list.format='columns'\n"
    )
    assert settings == {
        "SSL_CERT_FILE": "/certs.pem",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "UV_FIND_LINKS": "/wheels",
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_without_a_configuration_the_defaults_stand() -> None:
    assert uv_settings("") == {"UV_INDEX_STRATEGY": "unsafe-best-match"}


def test_a_requirement_keeps_its_hashes_and_takes_no_other() -> None:
    assert requirement_of("uv", LOCK).splitlines() == [
        "uv==0.1 \\",
        "    --hash=sha256:bb \\",
        "    --hash=sha256:cc",
    ]


def test_a_package_that_is_not_locked_is_explained() -> None:
    with pytest.raises(SystemExit, match="make lock"):
        requirement_of("pip", LOCK)
