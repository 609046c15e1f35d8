# SPDX-License-Identifier: AGPL-3.0-or-later
"""A site that lets its pages load and run nothing but its own files."""

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; form-action 'self'"


def strict_policy(get_response):
    """Middleware: no script and no style in the page itself, nothing from elsewhere."""

    def respond(request):
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return respond
