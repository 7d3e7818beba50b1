satmachine.part('screen-payments', {})
