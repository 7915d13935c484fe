"""Builds the module `responder` against the yula that is installed."""

import setuptools

import yula

setuptools.setup(
    name="yula-responder-example",
    version="0.1.0",
    description="HTTP in C beside a Python handler, on one port",
    ext_modules=[
        setuptools.Extension(
            "responder",
            ["responder.c"],
            include_dirs=[yula.get_include()],
            extra_compile_args=["-std=gnu17"],
        )
    ],
    py_modules=["app"],
    install_requires=["yula"],
)
