satmachine.component('screen-splits', {})
