window.i18n.global.mergeLocaleMessage('es', {
  satmachine: {
    common: {
      lost_since: 'Sin conexión desde las {time}. Lo que ve es de entonces.',
      skip: 'Ir al contenido',
      no_such_page:
        'No hay ninguna página en esa dirección. Está en su página de inicio.',
      not_your_page:
        'Esa página es de otro papel que el suyo. Está en su página de inicio.',
      discard: 'Lo que escribió no está guardado. ¿Descartarlo?',
      keep_typing: 'Seguir escribiendo',
      discard_yes: 'Descartar',
      loading: 'Cargando…',
      could_not_load: 'No se pudo cargar',
      try_again: 'Intentar de nuevo',
      server_error:
        'El servidor no pudo responder ({status}). Inténtelo en un momento.',
      no_connection: 'Sin conexión con el servidor. Revise la red.',
      behind: 'No está al día: {why}',
      close: 'Cerrar',
      cancel: 'Cancelar',
      save: 'Guardar',
      copied: 'Copiado',
      copy_what: 'Copiar: {what}',
      required: 'Este dato es necesario.',
      not_an_amount: 'Escriba un importe como 750.00.',
      two_readings:
        'Esto puede leerse como {one} y como {other}. Escriba uno de los dos.',
      several: '{n} elegidos',
      several_done: '{n} hechos.',
      several_refused: '{n} rechazados: {why}',
      unanswered:
        'El servidor de esta dirección no contesta ahora, así que no se sabe si se le puede pagar. Revise la dirección; pulse «{ok}» otra vez para dejarla como está.',
      whole_units: '{code} no tiene decimales: escriba un número entero.',
      not_a_rate:
        'Escriba los sats por una unidad de la moneda, con punto antes de los decimales, como 133.3333.',
      not_sats: 'Escriba un número entero, como 1000 o 1,000.',
      maybe_recorded:
        'Puede que ya esté registrado: mire primero. ({why}) Si no está, pulse otra vez: se registra una sola vez, aunque se envíe varias.',
      maybe_paid:
        'Puede que ya esté hecho: mire primero. ({why}) Si no está, pulse otra vez: se hace una sola vez, aunque se envíe varias.',
      reason: '¿Por qué? (queda en el registro)',
      empty: 'vacío',
      yes: 'sí',
      no: 'no'
    },
    session: {
      out: 'Su sesión terminó',
      text: 'Entre como {name} y todo estará como antes, con lo que había escrito.',
      login: 'Entrar',
      password: 'Contraseña',
      wrong_password: 'La contraseña no es correcta.',
      not_possible:
        'Este LNbits no acepta contraseñas ahora. Entre de otra manera y vuelva a esta página.',
      elsewhere: 'Entrar',
      go_on: 'Seguir donde terminó su sesión'
    },
    zone: {
      title: '¿Los días de dónde?',
      text: 'Los días, semanas y meses empiezan y terminan en esta zona horaria, en pantallas, libros, estados de cuenta y archivos. Un límite diario suyo se rige por ella desde mañana.',
      label: 'Zona horaria',
      days_of: 'Días de {zone}: elegir otra zona horaria',
      differs: 'Sus días son los de {chosen}. Este dispositivo está en {here}.',
      take: 'Usar {here}',
      keep: 'Dejarla'
    },
    nav: {
      jumps: 'En esta página',
      label: 'Secciones',
      all: 'Todas las secciones; está en {here}',
      overview: 'Resumen',
      machines: 'Cajeros',
      settlements: 'Liquidaciones',
      lps: 'LP y depósitos',
      splits: 'Reparto',
      dca: 'Mi DCA',
      platform: 'Plataforma',
      books: 'Cuentas',
      log: 'Registro'
    },
    help: {
      about: 'Ayuda de esta pantalla',
      title: 'Guías',
      all: 'Todas las guías',
      why: 'Qué significa: {what}',
      english: 'Esta página está en inglés.'
    },
    search: {
      label: 'Encontrar lo que sea',
      hint: 'Un hash o su comienzo, el número del cajero, un nombre, sats, un importe de efectivo',
      nothing: 'Nada de usted se llama así.'
    },
    list: {
      sum: 'En total, una fila | En total, {n} filas',
      search: 'Buscar',
      filters: 'Filtros',
      csv: 'Descargar como CSV',
      from: 'Desde',
      to: 'Hasta',
      sort: 'Ordenar por',
      all_operators: 'Todos los operadores',
      remove_filter: 'Quitar el filtro {what}',
      nothing_found: 'Nada coincide',
      nothing_found_text: 'Ninguna fila cumple la búsqueda y los filtros.',
      clear: 'Quitar búsqueda y filtros',
      previous: 'Página anterior',
      next: 'Página siguiente',
      shown: '{from} a {to} de {total}'
    },
    period: {
      label: 'Período',
      days_1: 'Hoy',
      days_7: '7 días',
      days_30: '30 días',
      days_90: '90 días',
      days_365: '1 año',
      days_0: 'Todo',
      this_month: 'Este mes',
      last_month: 'Mes pasado',
      this_year: 'Este año'
    },
    invitations: {
      title: 'Invitaciones',
      from: 'Los cajeros de {name} le invitan',
      text: 'Usted aportaría efectivo al cajero {machine}: cada retiro compra entonces sats para usted. No pasa nada antes de que acepte.',
      accept: 'Aceptar',
      decline: 'Rechazar',
      accept_done: 'Ahora es LP de {machine}.',
      decline_done: 'Rechazada. A quien le invitó no se le dice.'
    },
    offers: {
      title: 'Oferta de pagar su saldo',
      from: '{machine}: una oferta de pagar su saldo',
      text: 'Se pagarían {fiat} suyos como {sats}, a {rate}.',
      until: 'No pasa nada hasta que usted diga que sí. Vale hasta {time}.',
      accept: 'Aceptar',
      decline: 'Rechazar',
      accept_title: '{machine}: ¿acepta esta oferta?',
      decline_title: '{machine}: ¿rechaza esta oferta?',
      accept_done: 'Aceptada: los sats van en camino.',
      decline_done: 'Rechazada: no cambia nada.'
    },
    consent: {
      title: 'Espera un sí',
      waits_for_you: 'Espera su sí',
      from: '{machine}: espera su sí',
      until: 'Hasta entonces no cambia nada. Vale hasta {time}.',
      dispense_text:
        'El operador dice que salieron del cajero {given} de {sold}. Con su sí, lo que se le debe de esta venta ({sats} por {own}) se reduce a su parte de eso, y el resto de su saldo sigue siendo suyo.',
      void_text:
        'El operador pide anular toda la venta de {sold}. Con su sí no se le pagan los {sats}, y {own} siguen en su saldo.',
      accept: 'Sí, estoy de acuerdo',
      decline: 'No',
      accept_title: '¿Está usted de acuerdo?',
      decline_title: '¿No está usted de acuerdo?',
      accept_done: 'El operador ve su sí.',
      decline_done: 'El operador y la plataforma ven su no. No cambia nada.',
      own_accepted: 'Usted está de acuerdo; faltan otros.',
      own_declined: 'Usted no está de acuerdo: no cambia nada.',
      leg_waiting: 'Espera el sí de a quien se le debe.',
      leg_accepted: 'A quien se le debe está de acuerdo.',
      leg_declined: 'A quien se le debe no está de acuerdo.',
      dispense_asked:
        'Salieron {given} de {sold}, dice el operador. Hasta que todos a quienes se les debe estén de acuerdo, o la plataforma decida, todo queda como se planeó.',
      void_asked:
        'El operador pide anular esta venta de {sold}. Hasta que todos a quienes se les debe estén de acuerdo, todo queda como se planeó.',
      waits_for: 'Espera el sí de',
      accepted_by: 'De acuerdo',
      declined_by: 'En desacuerdo',
      platform: 'la plataforma',
      dispense_decides:
        'Usted decide por todos a quienes se les debe de esta venta.',
      void_decides:
        'Usted responde solo por la plataforma; los LP responden por sí mismos.',
      decide_accepted: 'Concederlo',
      decide_declined: 'Negarlo',
      decided: 'Decidido.'
    },
    consent_state: {
      open: 'espera',
      accepted: 'acordado',
      declined: 'rechazado',
      lapsed: 'venció a los 14 días',
      replaced: 'pedido de nuevo',
      overtaken: 'tarde: ya se pagó'
    },
    claimed: {
      open: 'Avisar de efectivo que falta',
      title: 'Efectivo que no está registrado',
      text: 'El operador lo confirma o dice por qué no. La plataforma también lo ve.',
      machine: 'Entregado en',
      amount: 'Importe en efectivo',
      notes: '¿Cuándo y a quién?',
      done: 'El operador ve que usted entregó {amount}.',
      says: 'El operador dice que esto se le pagó de otra forma: {reference}. Cuenta cuando usted diga que sí.',
      accept: 'Sí, me pagaron',
      decline: 'No, no me pagaron',
      accept_title: '¿Le pagaron de otra forma?',
      decline_title: '¿No le pagaron?',
      accept_text:
        '{sats} quedan pagados y nunca se envían a su billetera. Referencia: {reference}',
      decline_text: 'Se le sigue debiendo. Referencia: {reference}',
      accept_done: 'Marcado como pagado por fuera.',
      decline_done: 'Se le sigue debiendo; el operador ve su no.',
      waiting: 'Espera el sí del LP: pagado por fuera, {reference}',
      declined: 'El LP dice que no le pagaron por fuera.'
    },
    said: {
      decide_accepted: 'Conceder',
      decide_declined: 'Negar',
      accepted_means:
        'La disputa se acepta, y lo que se pide revertir se revierte.',
      declined_means: 'La disputa se desestima, y el dinero queda como está.',
      dispute: 'Disputar',
      dispute_title: 'Disputar este depósito',
      dispute_text:
        'El operador y la plataforma lo ven. No cambia nada del dinero.',
      dispute_done: 'El operador y la plataforma ven su disputa.',
      withdraw: 'Retirar la disputa',
      agree: 'Sí, lo recibí',
      refuse: 'No, no lo recibí',
      asks: 'El operador dice que se le devolvieron {amount}: {reason}',
      disputed: 'Disputado: {reason}',
      waits: 'Espera al LP: {amount} de vuelta'
    },
    welcome: {
      also: 'Además:',
      also_operator: 'operar cajeros',
      also_lp: 'aportar efectivo',
      title: 'Bienvenido a Satoshi Machine',
      text: 'La administración de los cajeros Bitcoin bitSpire de este servidor. ¿Qué quiere hacer?',
      operator: 'Opero cajeros',
      operator_text:
        'Registre un cajero por su npub, fije sus comisiones, inscriba a quienes ponen el efectivo y vea adónde va cada sat.',
      lp: 'Pongo el efectivo',
      lp_text:
        'Un operador ya lo inscribió, o lo hará. Diga adónde van sus sats: cada retiro en el cajero comprará sats para usted.'
    },
    tx_type: {cash_out: 'Retiro', cash_in: 'Efectivo recibido'},
    leg_status: {
      pending: 'en camino',
      completed: 'pagado',
      failed: 'no se pudo pagar',
      voided: 'anulado',
      skipped: 'ya está en esta billetera',
      refunded: 'reembolsado'
    },
    deposit_status: {
      claimed: 'reclamado por el LP',
      pending: 'por confirmar',
      confirmed: 'confirmado',
      cancelled: 'cancelado',
      reversed: 'revertido'
    },
    dca_mode: {flow: 'Continuo', fixed: 'Límite diario fijo'},
    fees: {
      much: 'Los clientes pagarían más del 15 % en total. ¿Es lo que quiere?',
      cash_out: 'Comisión de retiro',
      cash_in: 'Comisión por efectivo recibido',
      invalid:
        'Un porcentaje de 0 a 100, con dos decimales como máximo y punto antes de ellos.',
      sum: '{platform} plataforma + {own} suya = {sum}'
    },
    mark: {
      fee_off:
        'La comisión se aparta de sus fracciones en más del 1 % del principal.',
      rate_off:
        'El tipo de cambio se aparta más de un 10 % del habitual o del de mercado.',
      rate_not_checked:
        'Tipo de cambio sin comprobar: no se conocía ni uno habitual ni un precio de mercado.',
      less_arrived: 'Llegó menos que el principal.',
      more_dispensed: 'Salió del cajero más efectivo del vendido.',
      outside_limits: 'Fuera de los límites del cajero.'
    },
    leg: {
      more: 'Más',
      redirect: 'Enviar a otro destino',
      redirect_title: '¿Enviar esta parte a otro destino?',
      redirect_text:
        '{sats} para {name} van al destino que usted escriba: una billetera, una clave de factura, una dirección Lightning o una LNURL.',
      redirect_target: 'Destino nuevo',
      redirect_done: '{sats} van al destino nuevo.',
      in_flight: 'pagándose ahora',
      next: 'próximo intento {when} | próximo intento {when}, intentado una vez | próximo intento {when}, intentado {n} veces',
      to: 'A',
      wallet: 'billetera LNbits {id}',
      no_destination: 'aún sin destino',
      invoice: 'la factura del cliente',
      sent: 'Enviado tras el enrutamiento',
      hash: 'Hash del pago',
      settlement: 'De',
      open_settlement: 'su liquidación',
      retry: 'Pagar de nuevo',
      retry_title: '¿Pagar esto de nuevo?',
      retry_text:
        '{sats} a {name} vuelve a la cola y se intenta enseguida. No se puede pagar dos veces.',
      retry_done: '{sats} a {name} está otra vez en camino.',
      void: 'Anular',
      void_title: '¿Anular este pago?',
      void_text:
        '{sats} a {name} no se pagará nunca. Los sats se quedan en la billetera del cajero. No se puede deshacer.',
      void_own_text:
        '{sats} no se reenvía a {name} y se queda en su billetera. No se puede deshacer.',
      void_settlement_text:
        '{sats} a {name} no se pagará nunca. Los sats se quedan en la billetera desde la que usted eligió pagar. No se puede deshacer.',
      void_dca: 'El saldo del LP recupera {fiat}.',
      void_done: '{sats} a {name} queda anulado.',
      mark_paid: 'Marcar como pagado',
      mark_paid_title: '¿Se pagó de otra forma?',
      mark_paid_text:
        '{sats} a {name} cuenta como pagado y no se enviará desde aquí. Diga cómo se pagó.',
      mark_paid_done: '{sats} a {name} queda marcado como pagado.',
      reference: 'Referencia',
      reference_hint: 'Un hash de pago, un número de recibo…'
    },
    own_leg: {
      dca: 'Sats por su efectivo',
      settlement: 'Su saldo, liquidado',
      autoforward: 'Reenviado a su dirección'
    },
    payments: {
      paid_from: 'Pagado desde',
      several: 'Pagar varios otra vez',
      several_title: '¿Pagar estos otra vez?',
      several_text:
        'Cada uno se intenta una vez más ahora. Quite lo que no deba intentarse.',
      several_label: 'Pagos de esta página que fallaron',
      transaction_time: 'Hora',
      machine_id: 'Cajero',
      leg_type: 'Concepto',
      label: 'Quién',
      amount_sats: 'Importe (sat)',
      arrived_sats: 'Llegó (sat)',
      amount_fiat: 'Efectivo',
      status: 'Estado',
      none: 'Aún no hay pagos',
      none_own: 'Aparecen con el primer retiro después de su depósito.',
      none_text: 'Cada liquidación genera algunos, en cuanto haya una.'
    },
    deposits: {
      record: 'Anotar un depósito',
      record_text:
        'Efectivo que el LP le entregó. Trabaja para el LP en cuanto se confirma.',
      nobody:
        'Ningún LP ha elegido billetera todavía, así que no se puede anotar ningún depósito.',
      from: 'De',
      amount: 'Importe',
      booked: 'En los libros',
      notes: 'Nota',
      status: 'Estado',
      created_at: 'Anotado',
      username: 'LP',
      machine_id: 'Cajero',
      actions: 'Siguiente',
      recorded: '{amount} de {name} queda anotado. Confírmelo al contarlo.',
      recorded_at: 'anotado {time}',
      confirmed_at: 'confirmado {time}',
      several: 'Confirmar varios',
      several_title: '¿Confirmar estos depósitos?',
      several_text:
        'Cada uno empieza a trabajar: las próximas ventas de efectivo compran sats con él. Quite lo que no haya contado.',
      several_label: 'Depósitos de esta página que esperan',
      none: 'Aún no hay depósitos',
      none_text: 'Anote uno cuando un LP le entregue efectivo.',
      none_own: 'El operador anota uno cuando usted entrega efectivo.',
      do_confirmed: 'Confirmar',
      do_corrected: 'Corregir',
      do_cancelled: 'Cancelarlo',
      do_reversed: 'Revertir',
      confirmed_title: '¿Confirmar este depósito?',
      confirmed_text:
        '{amount} de {name} empieza a trabajar: los próximos retiros compran sats con él.',
      confirmed_done: '{amount} de {name} está trabajando.',
      corrected_title: '¿Corregir este depósito?',
      corrected_text:
        'Figura con {amount} de {name}. El LP verá la cifra nueva.',
      corrected_done: 'Ahora figura con {amount} de {name}.',
      cancelled_title: '¿Cancelar este depósito?',
      cancelled_text: '{amount} de {name} no contará.',
      cancelled_done: 'El depósito queda cancelado.',
      reversed_title: '¿Revertir este depósito?',
      reversed_text:
        'Se restan {amount} del saldo de {name}, que lo verá. Se rechaza si ya se convirtió en sats.',
      reversed_done: 'El depósito queda revertido.'
    },
    dca: {
      welcome: 'Convierta su efectivo en sats',
      welcome_text:
        'Elija adónde van sus sats. Después entregue su efectivo al operador: cada retiro en el cajero compra sats para usted.',
      settings: 'Ajustes',
      a_day: 'como máximo {limit} al día',
      paused: 'En pausa por el operador',
      paused_text:
        'Los nuevos retiros no compran sats para usted hasta que el operador lo reanude. Lo que se le debe se sigue pagando, y su efectivo sigue siendo suyo.',
      used_up:
        'Todo su efectivo aquí ya se convirtió en sats: no llega nada más hasta que entregue más.',
      limit_reached:
        'El máximo de hoy, {limit}, está usado: no llega nada más antes del {time}.',
      limit_left_of: '{left} de {limit}',
      into: 'a {wallet}',
      forwards: 'reenviado a {address}',
      not_enrolled: 'Todo listo',
      not_enrolled_text:
        'Ahora un operador lo inscribe. Dígale su nombre de usuario: {name}',
      remaining: 'Efectivo aún trabajando',
      used: '{percent} convertido en sats',
      deposited: 'Entregado',
      paid_out: 'Convertido en sats',
      sats_received: 'Sats recibidos',
      sats_on_the_way: 'Sats en camino',
      on_the_way_note: 'se le deben, se están pagando',
      average_price: 'Precio medio pagado',
      price_now: 'Precio ahora',
      price: '{price} por 1 BTC',
      accumulation: 'Cómo se acumula',
      chart: 'Sats comprados',
      total: 'Sumado',
      per_day: 'Por día',
      payments: 'Pagos a usted',
      deposits: 'Sus depósitos'
    },
    steps: {
      title: 'Primeros pasos',
      count: '{done} de {all} hechos',
      hide: 'Guardar',
      done: 'hecho:',
      to_do: 'por hacer:',
      operator: {
        wallet: 'Una billetera Lightning para un cajero, y para nada más',
        machine: 'Registre el primer cajero',
        pairing: 'Emparéjelo, o dele la clave de la billetera',
        fees: 'Fije sus comisiones',
        splits:
          'Diga quién comparte sus comisiones (si no, quedan en la billetera del cajero)',
        lp: 'Invite al primer LP',
        deposit: 'Registre el primer depósito',
        sale: 'La primera venta: compre con un billete pequeño y márquela como prueba'
      },
      platform: {
        fees: 'Fije las comisiones de la plataforma',
        wallet: 'Elija la billetera que las recibe',
        relays: 'Indique los relays que usan los cajeros',
        host: 'Haga rápidos los saldos de LNbits'
      },
      lp: {
        profile: 'Elija la billetera que recibe sus sats',
        machine: 'Un operador lo inscribe, y usted acepta',
        deposit: 'Entregue efectivo, que el operador confirma',
        sats: 'Llegan los primeros sats'
      }
    },
    statement: {
      title: 'Estado de cuenta',
      text: 'Una lista imprimible de sus depósitos y pagos de un período.',
      taxes: 'CSV para impuestos',
      open: 'Abrir el estado de cuenta'
    },
    audit: {
      you: 'usted',
      none: 'Nada todavía.',
      what: 'Qué cambió | Qué cambió | Qué cambió ({n})'
    },
    lp: {
      start: 'Empezar mi DCA',
      settings: 'Ajustes de mi DCA',
      onboarding:
        'El operador lleva su efectivo a los clientes; cada vez, su parte de los sats llega a la billetera que elija aquí.',
      wallet: 'Billetera que recibe los sats',
      wallet_hint: 'Una de sus billeteras de LNbits.',
      mode: 'A qué ritmo',
      flow_text: 'Su efectivo trabaja tan rápido como los clientes lo retiran.',
      fixed_text:
        'Como máximo esa parte de su efectivo al día, sumando todos los cajeros.',
      daily_limit: 'Máximo al día',
      daily_limit_hint: 'En la moneda del cajero.',
      forward: 'Reenviar mis sats a una dirección Lightning',
      address: 'Dirección Lightning',
      address_hint:
        "Como usted{'@'}example.com. El costo de enrutamiento es suyo.",
      address_invalid:
        "Una dirección Lightning se escribe como nombre{'@'}example.com.",
      notify: 'Avisarme de cada pago, por los avisos de LNbits',
      notify_hint:
        'Por el Nostr, el Telegram o el correo que indicó en su cuenta de LNbits.',
      saved: 'Los ajustes de su DCA están guardados.'
    }
  }
})
