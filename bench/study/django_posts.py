# SPDX-License-Identifier: BSD-3-Clause
"""The study's three routes in Django, for gunicorn: django_posts:wsgi, django_posts:asgi

All of a project that Django needs, in one file, and no middleware. The environment says
where the database is (STUDY_DATABASE, a host) and, where the cpu route is to call C, the
shared object to call (STUDY_SQUARES).
"""

import ctypes
import json
import os
import uuid

import django
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.conf import settings

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=[],
    MIDDLEWARE=[],
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["STUDY_DATABASE"],
            "NAME": "study",
            "USER": "study",
        }
    },
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import models  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402

SQUARES = 10**7
PAGE = 25


class Post(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    title = models.TextField()
    content = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "posts"
        db_table = "posts"


# ---- the work ---------------------------------------------------------------


def sum_in_c(library):
    function = ctypes.CDLL(library).study_sum_of_squares
    function.argtypes = [ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64)]

    def compute_in_c():
        halves = (ctypes.c_uint64 * 2)()
        function(SQUARES, halves)
        return halves[1] << 64 | halves[0]

    return compute_in_c


def sum_in_python():
    total = 0
    for i in range(SQUARES):
        total += i * i
    return total


squares = os.environ.get("STUDY_SQUARES")
compute = sum_in_c(squares) if squares else sum_in_python


def fields(post):
    names = ("id", "title", "content", "created_at", "updated_at")
    return {name: getattr(post, name) for name in names}


def create(body):
    post = json.loads(body)
    return fields(Post.objects.create(title=post["title"], content=post["content"]))


def read():
    page = [fields(post) for post in Post.objects.order_by("id")[:PAGE]]
    return {"count": Post.objects.count(), "results": page}


# ---- the routes: blocking, and as coroutines --------------------------------


def cpu(request):
    return JsonResponse({"result": compute()})


def io_create(request):
    return JsonResponse(create(request.body), status=201)


def io_read(request):
    return JsonResponse(read())


async def async_cpu(request):
    return JsonResponse({"result": compute()})


async def async_io_create(request):
    return JsonResponse(await sync_to_async(create)(request.body), status=201)


async def async_io_read(request):
    return JsonResponse(await sync_to_async(read)())


urlpatterns = [
    path("posts/cpu/", cpu),
    path("posts/io_create/", io_create),
    path("posts/io_read/", io_read),
    path("async/posts/cpu/", async_cpu),
    path("async/posts/io_create/", async_io_create),
    path("async/posts/io_read/", async_io_read),
]

wsgi = get_wsgi_application()
asgi_application = get_asgi_application()


async def asgi(scope, receive, send):
    """The coroutines, at the same paths. Each request has a thread of its own for what
    blocks, as from Django 4.0 on; in 3.2 all would share one."""
    if scope["type"] != "http":
        return  # gunicorn's worker can do without an answer to "lifespan"
    scope = {**scope, "path": "/async" + scope["path"]}
    async with ThreadSensitiveContext():
        await asgi_application(scope, receive, send)
