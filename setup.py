"""Package metadata, extras, and the ``.mim`` folder, in which OpenMMLab's tools look for the configs of a package."""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
MIM_CONTENT = ('configs', 'tools', 'model-index.yml')

EXTRAS = {
    'onedl': ['onedl-mmengine>=0.10.12', 'onedl-mmcv>=2.3.6', 'onedl-mmpretrain>=1.3.6'],
    'openmmlab': [
        'mmengine>=0.10.7',
        'mmcv-lite>=2.1.0,<2.2',
        'mmpretrain>=1.2.0',
        'numpy<2',
        'opencv-python<4.12',
        'setuptools<81',
    ],
    'det': ['onedl-mmdetection>=3.5.1'],
    'openmmlab-det': ['mmdet>=3.3.0'],
    'robustness': ['foolbox>=3.3.4', 'imagecorruptions-imaug>=1.1.5', 'pyautoattack>=0.2.0'],
    'onnx': ['onnx', 'onnxruntime'],
    'study': ['imagecorruptions-imaug>=1.1.5', 'scipy>=1.10'],
    'docs': ['furo', 'myst-parser>=4', 'sphinx>=8.1,<9', 'sphinx-copybutton', 'sphinx-design'],
    # A test builds the package without isolation, hence setuptools and wheel.
    'dev': [
        'basedpyright==1.40.2',
        'build',
        'foolbox>=3.3.4',
        'hypothesis',
        'imagecorruptions-imaug>=1.1.5',
        'onnx',
        'onnxruntime',
        'pre-commit',
        'pre-commit-hooks',
        'pyautoattack>=0.2.0',
        'pytest',
        'pytest-timeout',
        'pytest-xdist',
        'ruff==0.17.6',
        # It contains photographs.
        'scikit-image',
        'scipy>=1.10',
        'setuptools>=64',
        # Tests compare exported weights with these libraries. The example uses timm.
        'timm',
        'transformers<5',
        'wheel',
    ],
}


def read_version():
    return re.search(r"__version__ = '(.+)'", (ROOT / 'aemim_mm/version.py').read_text())[1]


def read_readme():
    path = ROOT / 'README.md'
    return path.read_text(encoding='utf-8') if path.is_file() else ''


def fill_mim(folder, *, link):
    """Empty ``folder``, then fill it with configs/, tools/ and model-index.yml: copies, or links to them."""
    folder = Path(folder)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for name in MIM_CONTENT:
        source, target = ROOT / name, folder / name
        if not source.exists():
            raise SystemExit(f'{source} is missing: the package would lack .mim/{name}.')
        if link:
            # Relative links survive a move of the checkout.
            target.symlink_to(os.path.relpath(source, folder), target_is_directory=source.is_dir())
        elif source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
        else:
            shutil.copy2(source, target)


class BuildWithMim(build_py):
    """Put copies into a wheel, and links into an editable install, where an edited config takes effect at once."""

    def run(self):
        super().run()
        if getattr(self, 'editable_mode', False):
            fill_mim(ROOT / 'aemim_mm/.mim', link=True)
        else:
            fill_mim(Path(self.build_lib, 'aemim_mm/.mim'), link=False)


class SdistWithMim(sdist):
    """Put copies into an sdist."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        fill_mim(Path(base_dir, 'aemim_mm/.mim'), link=False)


setup(
    name='aemim-mm',
    version=read_version(),
    description='AEMIM: adversarial masked image modeling, as an OpenMMLab plugin',
    long_description=read_readme(),
    long_description_content_type='text/markdown',
    author='the aemim-mm authors',
    license='Apache-2.0',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    python_requires='>=3.10',
    # No mm* distribution is required, because the two families overwrite each other. aemim_mm/stack.py checks them.
    install_requires=['jinja2', 'matplotlib', 'numpy', 'pillow', 'rich', 'safetensors', 'torch>=2.1', 'torchvision'],
    extras_require=EXTRAS,
    packages=find_packages(include=['aemim_mm', 'aemim_mm.*']),
    package_data={'aemim_mm': ['data/**', 'report/templates/*']},
    include_package_data=False,
    cmdclass={'build_py': BuildWithMim, 'sdist': SdistWithMim},
    zip_safe=False,
)
