import json

import django
import pytest
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

told = []


@csrf_exempt
def hook(request):
    told.append(json.loads(request.body)["type"])
    return HttpResponse()


urlpatterns = [path("webhooks", hook)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=[])
django.setup()


@pytest.mark.parametrize("application", [get_wsgi_application, get_asgi_application])
def test_django_is_told_in_process(qashier_mock, application):
    told.clear()
    qashier_mock.deliver_webhooks_to(application(), path="/webhooks")
    qashier_mock.pay(qashier_mock.create_session())
    qashier_mock.flush()
    assert told == ["checkout.session.completed"]
