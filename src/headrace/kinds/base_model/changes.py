"""What changing a BaseModel costs."""

from headrace.kinds.kind import Cost

COSTS: dict[str, Cost] = {
    "baseModelName": "none",
    "baseModelServingInfo": "new base",
    "baseModelServingInfo.modelProviderToken": "none",
    "baseModelServingTemplate": "restart",
    "baseModelServingTemplate.resourceRequest": "none",
}
