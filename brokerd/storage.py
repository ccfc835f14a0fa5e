"""Static files with the hash of their content in the name, so that browsers may keep them for ever."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleStorage(CompressedManifestStaticFilesStorage):
    """Also rewrites the relative imports between our ES modules, which have no build step."""

    support_js_module_import_aggregation = True
