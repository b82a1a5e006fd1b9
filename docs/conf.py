"""Sphinx configuration of the site that `make docs` builds."""

project = 'aemim-mm'
copyright = 'the aemim-mm authors'
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx_copybutton', 'sphinx_design']
html_theme = 'furo'
html_title = 'aemim-mm'
myst_heading_anchors = 3
# Flags keep their two hyphens.
smartquotes = False
myst_enable_extensions = ['colon_fence']
autodoc_member_order = 'groupwise'
napoleon_use_rtype = False
napoleon_use_ivar = True
# The texts of torch refer to pages of torch.
autodoc_inherit_docstrings = False
# In signatures, types of other packages, and types of this one that users do not make, have no page here.
_others = 'torch|mmengine|mmcv|mmpretrain|mmdet|numpy|PIL|collections|contextlib|pathlib|typing|os'
nitpick_ignore_regex = [('py:.*', rf'({_others})\..*'), ('py:class', r'aemim_mm\..*|Runner|[a-z_]+')]
