satmachine.part('screen-splits', {})
