"""The platform, over HTTP: its fees and the wallet they are paid to. Super only."""

from __future__ import annotations

from fastapi import Depends
from lnbits.decorators import check_super_user

from ..crud import get_super_config
from ..money.targets import check_own_wallet
from ..parties import machines as registry
from .models import SuperConfigAnswer, SuperConfigInput
from .route import Super, named_fields, new_router, refusals

router = new_router()


@router.get(
    "/super/config",
    summary="The platform's fee fractions and wallet",
    response_model=SuperConfigAnswer,
    responses=refusals(),
    dependencies=[Depends(check_super_user)],
)
async def api_super_config() -> SuperConfigAnswer:
    return SuperConfigAnswer.of(await get_super_config())


@router.put(
    "/super/config",
    summary="Change the platform's fees and wallet",
    description="Refused, with the names of the machines, where platform and operator "
    "together would take more than the principal.",
    response_model=SuperConfigAnswer,
    responses=refusals(400),
)
async def api_update_super_config(
    account: Super, body: SuperConfigInput
) -> SuperConfigAnswer:
    changes = named_fields(body, ("super_fee_wallet_id",))
    wallet_id = changes.get("super_fee_wallet_id")
    if wallet_id and wallet_id != (await get_super_config()).super_fee_wallet_id:
        await check_own_wallet(wallet_id, account.id, "super_fee_wallet_id")
    return SuperConfigAnswer.of(await registry.update_super_config(account.id, changes))
