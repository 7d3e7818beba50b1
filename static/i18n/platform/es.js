// The words of the platform's page.
window.i18n.global.mergeLocaleMessage('es', {
  satmachine: {
    operators: {
      title: 'Operadores',
      text: 'Qué fue de su parte, según los propios pagos: lo que un operador marque o anule sigue en alguna suma.',
      none: 'Aún no hay operadores',
      unnamed: 'sin nombre',
      paid: 'Pagado a usted',
      owed: 'Se le debe',
      shortfall: 'de eso, no cobrado a clientes',
      let_go: 'Condonado por usted',
      lost: 'Perdido con anulaciones',
      voided: '1 liquidación anulada | {n} liquidaciones anuladas',
      test: '1 marcada como prueba | {n} marcadas como pruebas',
      quarantined: '1 retenida | {n} retenidas'
    },
    platform: {
      cash_out: 'Retiros, todos los operadores',
      cash_in: 'Ingresos, todos los operadores',
      platform_fees: 'Comisiones de la plataforma',
      operator_fees: 'Comisiones de los operadores',
      paid_to_lps: 'Pagado a los LP',
      operators: 'Operadores',
      counts: '{machines} cajeros, {lps} LP',
      fees: 'Comisiones de la plataforma',
      fees_legend: 'Su parte del principal, en todos los cajeros',
      wallet: 'Billetera que recibe las comisiones',
      wallet_hint: 'Una de sus billeteras.',
      no_wallet: 'Sin billetera, las comisiones se deben y esperan.',
      effect: 'Lo que pagan los clientes: plataforma + operador',
      save_title: '¿Cambiar las comisiones de la plataforma?',
      save_text:
        'Desde la próxima liquidación: {out} de un retiro, {in} de un ingreso. Las liquidaciones ya recibidas conservan las suyas.',
      save_wallet: 'Las comisiones se pagan a la billetera {wallet}.',
      saved: 'Las comisiones de la plataforma están guardadas.',
      machines: 'Cajeros de todos los operadores',
      no_machines: 'Los registran los operadores.',
      failed: 'Pagos que fallaron',
      none_failed: 'Ninguno ha fallado',
      none_failed_text:
        'Aquí aparecen los pagos que se rinden tras diez intentos.',
      name: 'Cajero',
      status: 'Estado',
      fiat_code: 'Moneda',
      operator_cash_out_fee_fraction: 'Operador, retiro',
      operator_cash_in_fee_fraction: 'Operador, ingreso',
      last_seen_at: 'Última señal'
    },
    relays: {
      revoke: 'Revocar claves antiguas',
      revoke_title: '¿Rechazar ya las claves de servicio antiguas?',
      revoke_text:
        'Los cajeros que aún escriben a una clave antigua no se oyen hasta que se emparejen de nuevo.',
      revoked: 'Las claves de servicio antiguas se rechazan.',
      title: 'Línea con los cajeros',
      no_key: 'no existe: vea el estado del sistema',
      list: 'Relays, uno por línea',
      hint: 'Como wss://relay.example.com. Varios son más seguros que uno.',
      invalid: '{relay} no es un relay: empieza con wss:// o ws://.',
      saved: 'Los relays están guardados.',
      rotate: 'Nueva clave de servicio',
      rotate_title: '¿Crear una nueva clave de servicio?',
      rotate_text:
        'Los cajeros la conocen al emparejarse de nuevo. La clave anterior se entiende durante 30 días más.',
      rotated: 'Hay una nueva clave de servicio.'
    },
    health: {
      title: 'Estado del sistema',
      engine: 'Motor',
      here: 'en marcha, en este proceso',
      elsewhere: 'en marcha, en otro proceso',
      nobody: 'parado: no se paga nada',
      last_pass: 'Su última ronda',
      listener: 'Último pago oído',
      sweep: 'Último barrido',
      sweep_error: 'El barrido dice',
      pending: 'Liquidaciones en espera',
      unpaid: 'Pagos en espera',
      failed: 'Pagos fallidos',
      oldest: 'El más antiguo espera desde',
      nothing_waits: 'nada espera',
      relay: 'Relay',
      no_relay: 'ninguno conectado',
      warning: 'Aviso',
      never: 'todavía no'
    }
  }
})
