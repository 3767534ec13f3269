"""Services by typed key, and functions whose parameters are filled with them."""

from rooftree.services.directory import SERVICES, Service, ServiceDirectory
from rooftree.services.injection import Injector, Parameter, is_service, parameters, type_hints

__all__ = [
    "SERVICES",
    "Injector",
    "Parameter",
    "Service",
    "ServiceDirectory",
    "is_service",
    "parameters",
    "type_hints",
]
