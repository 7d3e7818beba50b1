// The words of fees beside fractions, discounts and the operator's people.
window.i18n.global.mergeLocaleMessage('es', {
  satmachine: {
    fees: {
      sum_theirs: '{platform} plataforma + {own} operador = {sum}',
      with_fixed: '{fees} + {fixed}',
      from: 'desde {least}',
      up_to: 'hasta {most}',
      fixed_and_limits: 'Comisión fija y límites',
      fixed_out: 'Comisión fija de un retiro',
      fixed_in: 'Comisión fija por efectivo recibido',
      fixed_hint: 'Suya, por operación, además del porcentaje. 0: ninguna.',
      least: 'Efectivo mínimo de una operación',
      most: 'Efectivo máximo de una operación',
      limits_hint: 'Vacío: sin límite.'
    },
    nav: {discounts: 'Descuentos', team: 'Equipo', settings: 'Ajustes'},
    told: {
      title: 'De qué se le avisa',
      text: 'Mensajes solo para usted, por los canales de su cuenta de LNbits.',
      how: 'Por qué canales',
      is_set: 'su dirección está puesta',
      not_set: 'su cuenta de LNbits no tiene dirección',
      not_offered: 'este LNbits no envía por ahí',
      none_set: 'No hay ningún canal: no se le avisa de nada.',
      none: 'Este LNbits no envía mensajes: su administrador no ha configurado ningún canal.',
      account: 'Ponga uno en su cuenta de LNbits',
      test: 'Enviarme una prueba',
      sent: 'Enviado por {channels}.',
      failed: 'Ningún canal lo aceptó.',
      not_sent: 'No se envió nada: no hay ningún canal.',
      last: 'Último aviso {ago}.',
      waiting: '{n} mensaje sale {time}. | {n} mensajes salen desde {time}.',
      given_up:
        'Ningún canal aceptó {n} mensaje en un día. | Ningún canal aceptó {n} mensajes en un día cada uno.',
      when: 'Cuándo',
      zone: 'Con el reloj de {zone}.',
      quiet: 'Horas de silencio',
      quiet_from: 'Desde',
      quiet_until: 'Hasta',
      quiet_text:
        'Lo que llega mientras tanto sale cuando terminan, en un solo mensaje.',
      digest: 'Mi día en un mensaje',
      digest_at: 'A las',
      of: 'De qué se le avisa',
      always:
        'Siempre se le avisa de lo que otro hace con su dinero y de lo que espera su sí.'
    },
    told_channel: {email: 'Correo', nostr: 'Nostr', telegram: 'Telegram'},
    told_result: {
      sent: 'Enviado.',
      no_answer: 'El servidor no responde.',
      refused: 'El servidor lo rechazó.',
      bad_address: 'La dirección no es válida.',
      no_relay: 'Su dirección de Nostr no nombra ningún relé al que se llegue.'
    },
    told_kind: {
      sale: 'Cada venta',
      deposit: 'Depósitos',
      invitation: 'Respuestas a invitaciones',
      visit: 'Se cerró una visita'
    },
    webhook: {
      title: 'Su propio servidor',
      text: 'Un webhook: se avisa a un programa suyo de lo que pasa en sus cajeros. Cada llamada va firmada y se repite hasta que su servidor la acepta.',
      none: 'Ningún webhook',
      none_text: 'Indique la dirección https de un programa suyo.',
      set: 'Configurar un webhook',
      change: 'Cambiar la dirección',
      set_text:
        'Desde ahora se envía a esta dirección lo que pasa en sus cajeros: importes, cajeros, depósitos. Solo usted puede configurarla.',
      url: 'Dirección',
      set_done: 'Guardado. Copie ahora el secreto: se muestra solo esta vez.',
      saved: 'Guardado.',
      secret: 'Secreto',
      secret_once:
        'El secreto con el que se firman las llamadas. No se muestra de nuevo.',
      rotate: 'Secreto nuevo',
      rotate_title: '¿Crear un secreto nuevo?',
      rotate_text:
        'Durante un día las llamadas se firman con los dos, para que usted pueda cambiarlo en su servidor. Después, solo con el nuevo.',
      remove: 'Eliminar',
      remove_title: '¿Eliminar el webhook?',
      remove_text: 'Ya no se avisa de nada, tampoco de lo que está en camino.',
      remove_done: 'El webhook está eliminado.',
      test: 'Enviar una prueba',
      events: 'De qué se avisa',
      told: 'Avisos de 30 días',
      nothing: 'Todavía ningún aviso',
      nothing_text: 'Envíe una prueba o espere la próxima venta.',
      created_at: 'Cuándo',
      type: 'Qué',
      status: 'Estado',
      answer_status: 'Respuesta',
      actions: 'De nuevo',
      again: 'Enviar de nuevo',
      all_again: 'Enviarlos de nuevo',
      seen: 'Lo he visto',
      last: 'Aceptado por última vez {ago}',
      never: 'Todavía no se ha aceptado nada',
      next: 'próximo intento {time}',
      n_waiting: 'En camino: {n}',
      n_given_up: 'Abandonados tras un día: {n}',
      paused: 'Falló varias veces: se le deja en paz hasta {time}'
    },
    webhook_status: {
      waiting: 'en camino',
      delivered: 'aceptado',
      given_up: 'abandonado',
      failed: 'no aceptado'
    },
    webhook_event: {
      settlement_completed: 'Una venta está pagada a todos',
      attention_opened: 'Algo espera por usted',
      attention_closed: 'Ya no espera',
      deposit_recorded: 'Un depósito está anotado',
      deposit_confirmed: 'Un depósito está confirmado',
      deposit_cancelled: 'Un depósito está cancelado',
      deposit_reversed: 'Un depósito está deshecho',
      visit_closed: 'Una visita está cerrada',
      webhook_test: 'Una prueba'
    },
    team: {
      text: 'Personas que trabajan para usted, cada una con su propio acceso. Se invitan con un enlace y quedan fuera en su siguiente clic cuando usted las retira. El registro dice quién hizo qué.',
      invite: 'Invitar a alguien',
      invite_text:
        'Haga un enlace para una persona. Quien lo abra y acepte tendrá esta función, hasta que usted o ella le ponga fin.',
      name: 'Cómo la llama usted',
      name_hint: 'Hasta que acepte: después se muestra su propio nombre.',
      role: 'Función',
      roles: 'Qué puede cada función',
      may_manager:
        'Todo en los cajeros del operador, salvo: billeteras, comisiones, repartos, personas, cerrar un saldo y adónde van los reembolsos por encima del límite.',
      may_bookkeeper:
        'Lee todo, con archivos y cuentas, y escribe notas en las liquidaciones. No cambia nada más.',
      may_collector:
        'El estado, el efectivo y las ranuras de los cajeros que se le indiquen, y las visitas allí. Ni sats, ni comisiones, ni LP, ni otros cajeros.',
      all_machines: 'Todos los cajeros, también los futuros',
      link_done:
        'Envíe este enlace a una persona, o deje que lo escanee. Vale para un solo sí, hasta {time}.',
      saved: 'Guardado: vale desde su siguiente clic.',
      change_title: '{name}: ¿otra función?',
      unnamed: 'todavía sin nombre',
      until: 'El enlace vale hasta {time}.',
      seen: 'Aquí por última vez {ago}',
      never_seen: 'Todavía no ha entrado',
      remove: 'Retirar',
      remove_title: '¿Retirar a {name}?',
      remove_text:
        'Desde su siguiente clic, {name} ya no ve ni hace nada aquí. Lo que hizo queda en el registro.',
      remove_done: '{name} ya no trabaja para usted.',
      withdraw: 'Anular el enlace',
      withdraw_title: '¿Anular el enlace para {name}?',
      withdraw_text: 'Ya nadie podrá aceptar con él.',
      withdraw_done: 'El enlace ya no vale.',
      limit: 'Reembolsos de encargados hasta',
      limit_title: 'Reembolsos: el límite de los encargados',
      limit_text:
        'De todo lo que se debe al cliente de una operación. Por encima, solo usted dice adónde va el reembolso.',
      no_limit: 'sin límite',
      none: 'Usted trabaja a solas',
      none_text:
        'Invite a quien llena los cajeros, a quien lleva las cuentas o a quien atiende con usted. Nadie necesita su contraseña.',
      desk: 'De quién es este puesto',
      acting: 'Usted trabaja para {name}: {role}',
      own_desk: 'Este es su propio puesto.',
      switch: 'Cambiar',
      switch_own: 'Mi propio puesto',
      switch_to: 'Para {name}: {role}',
      leave: 'Dejar de trabajar para {name}',
      leave_title: '¿Dejar de trabajar para {name}?',
      leave_text: 'Usted ya no verá nada de {name}. {name} verá que lo dejó.',
      left: 'Usted ya no trabaja para {name}.',
      dismissed: 'Usted ya no trabaja para {name}.',
      asked: 'Trabajaría en los cajeros de quien le invita, como: {role}.',
      accept_done: 'Ahora trabaja para {name}.',
      decline_done: 'Rechazado. {name} no se entera.',
      begin: 'A trabajar',
      owners_alone:
        'La billetera, la clave y las comisiones solo las cambia el operador.',
      operators_wallet: 'una billetera del operador',
      above_limit:
        'Al cliente de esta operación se le debe más de {limit}: adónde va, solo lo dice el operador.',
      no_machine: 'Ningún cajero para usted',
      no_machine_text:
        'La persona para quien trabaja todavía no indicó ninguno.',
      unnamed_machine: 'Cajero sin nombre'
    },
    staff_role: {
      manager: 'encargado',
      bookkeeper: 'contable',
      collector: 'recaudador'
    },
    staff_status: {active: 'trabaja aquí', invited: 'con invitación'},
    visit: {
      others_count:
        'Alguien está contando ahora: las cifras estarán aquí después.'
    },
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
      quiet_from: 'silencio desde',
      quiet_until: 'silencio hasta',
      digest_at: 'resumen diario a las',
      role: 'función',
      operator_cash_in_fixed_fee: 'comisión fija por efectivo recibido',
      operator_cash_out_fixed_fee: 'comisión fija de retiro',
      min_fiat: 'efectivo mínimo de una operación',
      max_fiat: 'efectivo máximo de una operación',
      operator_discount_sats: 'perdonado por el operador',
      platform_discount_sats: 'perdonado por la plataforma'
    }
  }
})
