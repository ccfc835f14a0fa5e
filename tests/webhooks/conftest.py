from tests.pages.conftest import no_limits_left_over, no_static_files  # noqa: F401
