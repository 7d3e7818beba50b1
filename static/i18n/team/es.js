// The words of fees beside fractions, discounts and the operator's people.
window.i18n.global.mergeLocaleMessage('es', {
  satmachine: {
    fees: {
      with_fixed: '{fees} + {fixed}',
      from: 'desde {least}',
      up_to: 'hasta {most}',
      fixed_and_limits: 'Comisión fija y límites',
      fixed_out: 'Comisión fija de un retiro',
      fixed_in: 'Comisión fija de un ingreso',
      fixed_hint: 'Suya, por operación, además del porcentaje. 0: ninguna.',
      least: 'Efectivo mínimo de una operación',
      most: 'Efectivo máximo de una operación',
      limits_hint: 'Vacío: sin límite.'
    },
    nav: {discounts: 'Descuentos'},
    machine_choice: {
      named: 'Estos cajeros',
      none: 'Elija al menos un cajero.'
    },
    discounts: {
      title: 'Códigos de descuento',
      text: 'Un código que el cliente escribe en el cajero rebaja la comisión de usted, nunca la de la plataforma ni lo de un LP. Cada operación dice quién perdonó qué.',
      platform: 'Códigos de descuento de la plataforma',
      platform_text:
        'Rebajan la parte de la plataforma, nunca la comisión de un operador. Si un operador tiene un código con el mismo nombre, en sus cajeros vale el suyo.',
      add: 'Código nuevo',
      change: 'Cambiar',
      change_title: 'Cambiar el código {code}',
      end: 'Terminar',
      resume: 'Volver a usar',
      remove: 'Quitar',
      code: 'Código',
      code_hint:
        'Lo que escribe el cliente: de 4 a 24 letras y cifras. Da igual mayúscula o minúscula.',
      code_invalid: 'Un código tiene de 4 a 24 letras y cifras.',
      share_own: 'Rebaja de su comisión',
      share_platform: 'Rebaja de la parte de la plataforma',
      share_hint: '100 %: no queda nada de su comisión.',
      share_hint_all: '100 %: no queda nada de su parte.',
      share_invalid: 'Escriba más de 0 y como máximo 100, por ejemplo 50.',
      fraction: 'Rebaja',
      off: '{share} menos',
      from: 'Desde',
      until: 'Hasta, incluido ese día',
      until_invalid: 'El último día es anterior al primero.',
      days: 'Cuándo',
      days_hint: 'Días de {zone}. Vacío: desde ahora, sin final.',
      from_day: 'desde el {day}',
      until_day: 'hasta el {day}',
      always: 'sin final',
      valid_until: 'Cuándo',
      uses: 'Usado',
      uses_of: '{used} de {most}, quedan {left}',
      forgiven_sats: 'Perdonado',
      max_uses: 'Usos como máximo',
      max_uses_a_day: 'Usos por día como máximo',
      no_limit: 'Vacío: sin límite.',
      at_all: 'En todos mis cajeros, también los futuros',
      everywhere: 'En todos los cajeros',
      is_active: 'Estado',
      filter_active: 'En uso',
      actions: 'Qué hacer',
      saved: 'El código {code} está guardado.',
      end_title: '¿Terminar el código {code}?',
      end_text:
        'Desde ahora no da nada. Las facturas hechas con él conservan su precio; lo que perdonó sigue en las operaciones.',
      end_done: 'El código {code} ya no da nada.',
      resume_title: '¿Volver a usar el código {code}?',
      resume_text: 'Vale desde ahora, dentro de sus días y de sus usos.',
      resume_done: 'El código {code} está otra vez en uso.',
      remove_title: '¿Quitar el código {code}?',
      remove_text: 'Nadie lo ha usado. Desaparece para siempre.',
      remove_done: 'El código {code} se ha quitado.',
      none: 'Todavía no hay códigos',
      none_own:
        'Haga uno para clientes habituales: lo escriben en el cajero y pagan menos de la comisión de usted.',
      none_platform:
        'Haga uno, y los clientes de todos los cajeros pagan menos de la parte de la plataforma.'
    },
    discount_state: {
      on: 'en uso',
      later: 'todavía no',
      over: 'terminado',
      used_up: 'agotado',
      ended: 'retirado'
    },
    settlement: {
      discount_code: 'Código de descuento',
      discount: 'Código de descuento {code}: {who}.',
      forgave_you: 'usted perdonó {sats}',
      forgave_operator: 'el operador perdonó {sats}',
      forgave_platform: 'la plataforma perdonó {sats}',
      forgave_nothing: 'no se perdonó nada',
      fact_forgiven_you: 'Perdonado por usted',
      fact_forgiven_operator: 'Perdonado por el operador',
      fact_forgiven_platform: 'Perdonado por la plataforma'
    },
    audit_action: {
      staff: {
        invite: 'Se invitó a alguien a trabajar aquí',
        change: 'Función o cajeros cambiados',
        remove: 'Se retiró a alguien',
        leave: 'Dejó de trabajar aquí',
        accept: 'Aceptó trabajar aquí'
      }
    },
    subject: {staff: 'persona'},
    field: {
      role: 'función',
      operator_cash_in_fixed_fee: 'comisión fija de ingreso',
      operator_cash_out_fixed_fee: 'comisión fija de retiro',
      min_fiat: 'efectivo mínimo de una operación',
      max_fiat: 'efectivo máximo de una operación',
      operator_discount_sats: 'perdonado por el operador',
      platform_discount_sats: 'perdonado por la plataforma'
    }
  }
})
